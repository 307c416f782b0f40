import {
  SystemHealthChecked,
  SystemRecoveryCompleted,
  SystemRecoveryStarted,
} from '@docmesh/contracts/ops/v1/events'
import { ConcurrencyError, type Events, type PublishOptions } from '@docmesh/events'
import type { After, HealingEvent } from '@docmesh/healing'
import type { Postgres, Queryable } from '@docmesh/postgres'

export interface JournalDeps {
  readonly db: Pick<Postgres, 'transaction'>
  readonly publish: Events['publish']
  readonly after: After
  /** Names this run of the supervisor: its events are one history. */
  readonly runId: string
}

export interface Journal {
  record(event: HealingEvent): void
  /** Gives what waits one last chance, at most two seconds. */
  close(): Promise<void>
}

/** Events that wait for the database; the oldest go when there are more. */
const KEPT = 1_000
const RETRY_MS = 1_000
const CLOSE_MS = 2_000

/**
 * Publishes what the healing does, in order, each event once. While the database is away, which may be what is being
 * mended, they wait in memory. This run is their only writer, so the version of each is known beforehand, and one that
 * is refused as taken was committed before the answer was lost.
 */
export function createJournal({ db, publish, after, runId }: JournalDeps): Journal {
  const waiting: HealingEvent[] = []
  let version = 0n
  let busy = false
  let working = Promise.resolve()
  let cancelRetry = (): void => {}
  let closed = false

  async function drain(): Promise<void> {
    busy = true
    cancelRetry()
    for (let event = waiting[0]; event; event = waiting[0]) {
      const current = event
      const options = { aggregateType: 'system', aggregateId: runId, expectedVersion: version }
      try {
        await db.transaction((tx) => announce(publish, tx, current, options))
      } catch (error) {
        if (!(error instanceof ConcurrencyError)) {
          if (!closed) cancelRetry = after(RETRY_MS, work)
          break
        }
      }
      version++
      // It may have been given up for a newer one meanwhile.
      if (waiting[0] === current) waiting.shift()
    }
    busy = false
  }

  function work(): void {
    if (!busy) working = drain()
  }

  return {
    record(event) {
      waiting.push(event)
      if (waiting.length > KEPT) waiting.shift()
      work()
    },
    async close() {
      closed = true
      cancelRetry()
      work()
      const late = Promise.withResolvers<void>()
      const cancel = after(CLOSE_MS, late.resolve)
      await Promise.race([working, late.promise])
      cancel()
    },
  }
}

function announce(
  publish: Events['publish'],
  tx: Queryable,
  event: HealingEvent,
  options: PublishOptions,
): Promise<unknown> {
  switch (event.kind) {
    case 'checked':
      return publish(tx, SystemHealthChecked, event, options)
    case 'started':
      return publish(tx, SystemRecoveryStarted, event, { ...options, correlationId: event.recoveryId })
    case 'completed':
      return publish(tx, SystemRecoveryCompleted, event, { ...options, correlationId: event.recoveryId })
  }
}
