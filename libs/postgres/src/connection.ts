import { setTimeout as delay } from 'node:timers/promises'
import { Client, type ClientConfig, types } from 'pg'

export type ConnectionOptions = {
  url: string
  schema: string
  applicationName: string
  statementTimeoutMs: number
  connectTimeoutMs: number
}

// A transaction left open holds back every reader that waits for settled transactions: the event store does.
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000

/** A connection on which nothing happened for this long is asked whether it lives; systems wait two hours. */
const KEEP_ALIVE_MS = 10_000

/** How long a server may take to end a connection before we hang up. */
const GOODBYE_MS = 1_000

const MAX_TIMER_MS = 2 ** 31 - 1

/** Who does not answer for this long is gone: the server itself gives up a statement in half of it. */
export const silenceMs = (statementTimeoutMs: number): number =>
  statementTimeoutMs === 0 ? MAX_TIMER_MS : Math.min(statementTimeoutMs * 2, MAX_TIMER_MS)

export const assertSchemaName = (schema: string): void => {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema))
    throw new RangeError(`schema "${schema}": use lower-case letters, digits and _, at most 63 characters`)
}

const parseBigint = (text: string): bigint => BigInt(text)

/** Client settings of this library: `int8` columns arrive as bigint, like int64 fields of the contracts. */
export const clientConfig = ({
  url,
  schema,
  applicationName,
  statementTimeoutMs,
  connectTimeoutMs,
}: ConnectionOptions): ClientConfig => ({
  connectionString: url,
  application_name: applicationName,
  options: [
    `-c search_path=${schema}`,
    `-c statement_timeout=${statementTimeoutMs}`,
    `-c idle_in_transaction_session_timeout=${IDLE_IN_TRANSACTION_TIMEOUT_MS}`,
  ].join(' '),
  connectionTimeoutMillis: connectTimeoutMs,
  query_timeout: silenceMs(statementTimeoutMs),
  keepAlive: true,
  keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
  types: {
    getTypeParser: (oid, format) =>
      oid === types.builtins.INT8 && format !== 'binary' ? parseBigint : types.getTypeParser(oid, format),
  },
})

/** Names a server in messages: host, port and database, never user or password. */
export const describeServer = (url: string): string => {
  if (!URL.canParse(url)) return 'PostgreSQL'
  const { hostname, port, pathname } = new URL(url)
  return `PostgreSQL at ${hostname || 'localhost'}:${port || 5432}${pathname}`
}

/** Opens one connection; an error after that is reported to `onError` and never thrown at the process. */
export const connectClient = async (
  config: ClientConfig,
  onError: (error: Error) => void,
): Promise<Client> => {
  const client = new Client(config)
  client.on('error', onError)
  try {
    await client.connect()
  } catch (error) {
    await client.end().catch(() => {})
    throw error
  }
  return client
}

/** Says goodbye, and hangs up on a server that does not hear it. */
export const endClient = async (client: Client): Promise<void> => {
  const hangUp = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS)
  await client.end()
  clearTimeout(hangUp)
}

const NOT_UP_YET = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  '53300', // too_many_connections
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
])

const isNotUpYet = (error: unknown): boolean => {
  const { code, message } = error as { code?: string; message?: string }
  return code === undefined
    ? /timeout|terminated unexpectedly|ended by/i.test(message ?? '')
    : NOT_UP_YET.has(code)
}

const reason = (error: unknown): string => {
  const [first] = error instanceof AggregateError ? error.errors : [error]
  return first instanceof Error ? first.message : String(first)
}

/** Waits until the server answers; throws at once when waiting cannot help (wrong password, no such database). */
export const waitForServer = async (options: ConnectionOptions): Promise<void> => {
  const { url, connectTimeoutMs } = options
  const deadline = performance.now() + connectTimeoutMs
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    const leftMs = Math.max(100, Math.ceil(deadline - performance.now()))
    try {
      const client = await connectClient(clientConfig({ ...options, connectTimeoutMs: leftMs }), () => {})
      await client.end()
      return
    } catch (error) {
      if (!isNotUpYet(error)) throw new Error(`${describeServer(url)} refused: ${reason(error)}`)
      if (performance.now() + pauseMs >= deadline)
        throw new Error(
          `${describeServer(url)} did not answer within ${connectTimeoutMs} ms (${reason(error)}): ` +
            'start the server or correct the database URL',
        )
    }
    await delay(pauseMs)
  }
}
