import { setTimeout as delay } from 'node:timers/promises'
import type { ClientBase, Pool } from 'pg'
import { silenceMs } from './connection.ts'
import { orUnavailable } from './unavailable.ts'

/** Runs SQL: on any connection of the pool (`Postgres`) or inside one transaction (`tx`). */
export type Queryable = {
  /** Without `values` the text may hold several statements. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

export type TransactionOptions = {
  /** Default: read committed. */
  isolation?: 'read committed' | 'repeatable read' | 'serializable'
  /** Of each statement; default that of the pool, 0 for none. */
  statementTimeoutMs?: number
}

const MAX_TRIES = 5
const RETRYABLE = new Set(['40001', '40P01']) // serialization_failure, deadlock_detected

export const runQuery = async <Row>(
  on: ClientBase | Pool,
  text: string,
  values?: readonly unknown[],
  statementTimeoutMs?: number,
): Promise<Row[]> => {
  try {
    const patience = statementTimeoutMs === undefined ? {} : { query_timeout: silenceMs(statementTimeoutMs) }
    const result = await on.query({ text, ...(values && { values: [...values] }), ...patience })
    return result.rows as Row[]
  } catch (error) {
    throw orUnavailable(error)
  }
}

const runOnce = async <T>(
  pool: Pool,
  fn: (tx: Queryable) => Promise<T>,
  { isolation = 'read committed', statementTimeoutMs }: TransactionOptions,
): Promise<T> => {
  const client = await pool.connect().catch((error) => {
    throw orUnavailable(error)
  })
  let broken = false
  try {
    await client.query(`begin isolation level ${isolation}`)
    if (statementTimeoutMs !== undefined)
      await client.query(`set local statement_timeout = ${statementTimeoutMs}`)
    const result = await fn({ query: (text, values) => runQuery(client, text, values, statementTimeoutMs) })
    const { command } = await client.query('commit')
    if (command === 'ROLLBACK')
      throw new Error(
        'the transaction was rolled back: the error of a query in it was caught and not passed on',
      )
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
  options: TransactionOptions = {},
): Promise<T> => {
  for (let tries = 1; ; tries++) {
    try {
      return await runOnce(pool, fn, options)
    } catch (error) {
      if (tries === MAX_TRIES || !RETRYABLE.has((error as { code?: string }).code ?? '')) throw error
    }
    await delay(Math.random() * 10 * 2 ** tries)
  }
}
