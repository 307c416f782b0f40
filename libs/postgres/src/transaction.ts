import { setTimeout as delay } from 'node:timers/promises'
import type { ClientBase, Pool } from 'pg'
import { orUnavailable } from './unavailable.ts'

/** Runs SQL: on any connection of the pool (`Postgres`) or inside one transaction (`tx`). */
export type Queryable = {
  /** Without `values` the text may hold several statements. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

export type TransactionOptions = {
  /** Default: read committed. */
  isolation?: 'read committed' | 'repeatable read' | 'serializable'
}

const MAX_TRIES = 5
const RETRYABLE = new Set(['40001', '40P01']) // serialization_failure, deadlock_detected

export const runQuery = async <Row>(
  on: ClientBase | Pool,
  text: string,
  values?: readonly unknown[],
): Promise<Row[]> => {
  try {
    const result = await (values === undefined ? on.query(text) : on.query(text, [...values]))
    return result.rows as Row[]
  } catch (error) {
    throw orUnavailable(error)
  }
}

const runOnce = async <T>(pool: Pool, fn: (tx: Queryable) => Promise<T>, isolation: string): Promise<T> => {
  const client = await pool.connect().catch((error) => {
    throw orUnavailable(error)
  })
  let broken = false
  try {
    await client.query(`begin isolation level ${isolation}`)
    const result = await fn({ query: (text, values) => runQuery(client, text, values) })
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch(() => {
      broken = true
    })
    throw orUnavailable(error)
  } finally {
    client.release(broken)
  }
}

/** Runs `fn` again, at most five times in all, when PostgreSQL asks for it: effects outside `tx` may repeat. */
export const runTransaction = async <T>(
  pool: Pool,
  fn: (tx: Queryable) => Promise<T>,
  { isolation = 'read committed' }: TransactionOptions = {},
): Promise<T> => {
  for (let tries = 1; ; tries++) {
    try {
      return await runOnce(pool, fn, isolation)
    } catch (error) {
      if (tries === MAX_TRIES || !RETRYABLE.has((error as { code?: string }).code ?? '')) throw error
    }
    await delay(Math.random() * 10 * 2 ** tries)
  }
}
