import { connectEvents, type Events } from '@docmesh/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { createBackoff } from '@docmesh/resilience'
import type { Logger, Metrics } from '@docmesh/telemetry'

export interface DatabaseOptions {
  readonly url: string
  readonly poolMax?: number
  readonly natsUrl?: string | undefined
  readonly stream?: string
  readonly metrics: Metrics
  readonly logger: Logger
  readonly random: () => number
}

export interface OpenDatabase {
  readonly db: Postgres
  readonly events: Events
}

export interface Database {
  /** Resolves when the database was reached for the first time, which may be never; does not reject. */
  readonly opened: Promise<OpenDatabase>
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 3_000

/** Opens the registry's database in the background: callers have to find each other also while it is away. */
export function openDatabase(options: DatabaseOptions): Database {
  const { logger, random } = options
  const backoff = createBackoff({ initialMs: 200, maxMs: 10_000, jitter: 0.3 }, random)
  const { promise: opened, resolve } = Promise.withResolvers<OpenDatabase>()
  let open: OpenDatabase | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false

  async function attempt(tries: number): Promise<void> {
    try {
      const found = await openOnce(options)
      if (closed) return release(found)
      open = found
      resolve(found)
    } catch (err) {
      if (closed) return
      logger.warn({ err }, 'cannot open the database: trying again')
      timer = setTimeout(() => void attempt(tries + 1), backoff(tries)).unref()
    }
  }

  void attempt(1)
  return {
    opened,
    async close() {
      closed = true
      clearTimeout(timer)
      if (open) await release(open)
    },
  }
}

const MIGRATIONS = new URL('../migrations', import.meta.url)

async function openOnce({ url, poolMax = 10, natsUrl, stream, metrics, logger }: DatabaseOptions) {
  const onError = (err: Error): void => logger.warn({ err }, 'connection trouble')
  const db = await openPostgres({
    url,
    schema: 'registry',
    migrations: MIGRATIONS,
    poolMax,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    metrics,
    onError,
  })
  try {
    const events = await connectEvents({ db, natsUrl, ...(stream && { stream }), metrics, onError })
    return { db, events }
  } catch (error) {
    await db.close()
    throw error
  }
}

async function release({ db, events }: OpenDatabase): Promise<void> {
  await events.close()
  await db.close()
}
