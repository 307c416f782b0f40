import { createBackoff } from '@docmesh/resilience'
import type { Logger } from '@docmesh/telemetry'

export interface OutboxOptions<T> {
  /** Nothing is written before it resolves, which may be never. */
  readonly ready: Promise<unknown>
  /** Writes items in their order, all or none. Rejects to be asked again with the same ones. */
  readonly write: (items: readonly T[]) => Promise<void>
  /** Whether an item may be the reason for a failure; if not, it is tried for as long as it takes. */
  readonly isFault: (error: unknown) => boolean
  readonly logger: Logger
  /** An item was given up. */
  readonly onDropped: () => void
  readonly random: () => number
  /** Items that wait; the oldest give way. Default 10,000. */
  readonly limit?: number
}

export interface Outbox<T> {
  push(item: T): void
  /** Resolves when the write under way has ended; what waits is lost. */
  close(): Promise<void>
}

const BATCH = 20
const TRIES = 5

/**
 * Items on their way to a store that may be away: kept in order and bounded, the oldest dropped when there are too many.
 * An item that the store refuses five times, alone, is dropped too: it must not hold up the others.
 */
export function createOutbox<T>({
  ready,
  write,
  isFault,
  logger,
  onDropped,
  random,
  limit = 10_000,
}: OutboxOptions<T>): Outbox<T> {
  const backoffMs = createBackoff({ initialMs: 100, maxMs: 10_000, jitter: 0.3 }, random)
  const waiting: T[] = []
  const ending = Promise.withResolvers<void>()
  let running: Promise<void> | undefined
  let endPause = (): void => {}
  let overflow = 0
  let closed = false

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref()
      endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  async function run(): Promise<void> {
    await Promise.race([ready, ending.promise])
    let failures = 0
    let refusals = 0
    while (waiting.length > 0 && !closed) {
      const batch = waiting.splice(0, refusals > 0 ? 1 : BATCH)
      try {
        await write(batch)
        failures = refusals = 0
        if (overflow > 0)
          logger.error({ dropped: overflow }, 'events were lost: the database was away too long')
        overflow = 0
      } catch (err) {
        failures++
        if (isFault(err)) refusals++
        if (refusals > TRIES) {
          onDropped()
          refusals = 0
          logger.error({ err }, 'an event cannot be written: it is lost')
          continue
        }
        waiting.unshift(...batch)
        if (failures === 1) logger.warn({ err }, 'cannot write events: trying again')
        if (closed) break
        await pause(backoffMs(failures))
      }
    }
    running = undefined // at once, not when the promise has settled: what comes in between would wait for the next
  }

  return {
    push(item) {
      if (closed) return
      waiting.push(item)
      if (waiting.length > limit) {
        waiting.shift()
        onDropped()
        if (overflow++ === 0)
          logger.warn({ limit }, 'too many events wait for the database: the oldest are lost')
      }
      running ??= run()
    },
    async close() {
      closed = true
      ending.resolve()
      endPause()
      await running
    },
  }
}
