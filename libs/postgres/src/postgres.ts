import type { Metrics } from '@docmesh/telemetry'
import { Pool } from 'pg'
import { assertSchemaName, clientConfig, waitForServer } from './connection.ts'
import { type Listener, openListener } from './listener.ts'
import { migrate } from './migrate.ts'
import { type Queryable, runQuery, runTransaction, type TransactionOptions } from './transaction.ts'
import { DatabaseUnavailable } from './unavailable.ts'

export type PostgresOptions = {
  /** `postgres://user:password@host:port/database` */
  url: string
  /** Schema of this service; the only one on its search path. */
  schema: string
  /** Folder of `0001_name.sql` files, applied before the promise resolves. */
  migrations?: URL | string
  /** Default 10. */
  poolMax?: number
  /** How long to wait for the server at start, and later for a free connection; default 15 000. */
  connectTimeoutMs?: number
  /** Default 30 000; a server that says nothing for twice as long is given up as DatabaseUnavailable. */
  statementTimeoutMs?: number
  /** Shown in pg_stat_activity; default: the schema. */
  applicationName?: string
  /** Gets the state of the pool, every five seconds. */
  metrics?: Metrics
  /** Hears of connections lost while nobody used them; the pool replaces them by itself. */
  onError?: (error: Error) => void
}

export type PoolStats = { total: number; idle: number; waiting: number; max: number }

export type Postgres = Queryable & {
  readonly url: string
  readonly schema: string
  /** Queries that `fn` sends without waiting for those before them share a round trip; they run in their order. */
  transaction<T>(fn: (tx: Queryable) => Promise<T>, options?: TransactionOptions): Promise<T>
  listen(channel: string, onPayload: (payload: string) => void): Promise<Listener>
  /** Rejects when the server does not answer. */
  ping(): Promise<void>
  stats(): PoolStats
  /** Waits for queries under way, then closes every connection and listener. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Opens a pool once the server answers (it may start later than we do) and the migrations are applied. */
export const openPostgres = async ({
  url,
  schema,
  migrations,
  poolMax = 10,
  connectTimeoutMs = 15_000,
  statementTimeoutMs = 30_000,
  applicationName = schema,
  metrics,
  onError = () => {},
}: PostgresOptions): Promise<Postgres> => {
  assertSchemaName(schema)
  if (!Number.isInteger(poolMax) || poolMax < 1) throw new RangeError(`poolMax ${poolMax}: at least 1`)
  const options = { url, schema, applicationName, statementTimeoutMs, connectTimeoutMs }
  await waitForServer(options)

  const config = clientConfig(options)
  const pool = new Pool({ ...config, max: poolMax, pipeline: true })
  // The pool listens only to idle clients; one that breaks while it is checked out must not end the process either.
  pool.on('connect', (client) => client.on('error', onError))
  pool.on('error', () => {})

  const observation = metrics && observePool(pool, metrics)
  const listeners = new Set<Listener>()
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => {
    clearInterval(observation)
    closed ??= Promise.all([pool.end(), ...[...listeners].map((listener) => listener.close())]).then(() => {})
    return closed
  }

  const postgres: Postgres = {
    url,
    schema,
    query: (text, values) => runQuery(pool, text, values),
    transaction: (fn, transactionOptions) => runTransaction(pool, fn, transactionOptions),
    listen: async (channel, onPayload) => {
      const listener = closed ? undefined : await openListener(config, channel, onPayload, onError)
      if (listener === undefined || closed) {
        await listener?.close()
        throw new DatabaseUnavailable('The database was closed.')
      }
      listeners.add(listener)
      return {
        close: () => {
          listeners.delete(listener)
          return listener.close()
        },
      }
    },
    ping: async () => {
      await pool.query('select 1')
    },
    stats: () => ({
      total: pool.totalCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
      max: poolMax,
    }),
    close,
    [Symbol.asyncDispose]: close,
  }
  try {
    if (migrations !== undefined) await migrate(postgres, { schema, migrations })
  } catch (error) {
    await close()
    throw error
  }
  return postgres
}

const OBSERVE_MS = 5_000

const observePool = (pool: Pool, metrics: Metrics): NodeJS.Timeout => {
  const connections = metrics.gauge('docmesh_postgres_pool_connections')
  const observe = (): void => {
    connections.set({ state: 'active' }, pool.totalCount - pool.idleCount)
    connections.set({ state: 'idle' }, pool.idleCount)
    connections.set({ state: 'waiting' }, pool.waitingCount)
  }
  observe()
  return setInterval(observe, OBSERVE_MS).unref()
}
