import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Delivery } from './delivery.ts'
import { attempt, type Interest } from './inbox.ts'
import { type Loop, settlingPause, startLoop } from './loop.ts'
import { type Logged, moveCursor, readAfterCursor, tryLock } from './store.ts'

type PostgresDeliveryOptions = {
  db: Postgres
  /** Looks at the log this often when no notification comes. */
  pollMs: number
}

const BUSY_PAUSE_MS = 50
/** Events that wait share a transaction and its trip to the disk; one that has taken this long ends. */
const BATCH = 20
const BATCH_MS = 10

/** Reads the log itself: one cursor per subscriber and event type, moved in the transaction of the handlers. */
export const postgresDelivery = ({ db, pollMs }: PostgresDeliveryOptions): Delivery => {
  const consume = (interest: Interest): Loop => {
    const cursor = `${interest.subscriber}:${interest.type.$type}`
    const settling = settlingPause(pollMs)

    const handleBatch = async (tx: Queryable, batch: readonly Logged[]): Promise<number> => {
      const until = performance.now() + BATCH_MS
      let restMs = 0
      let last: Logged | undefined
      for (const next of batch) {
        if (!next.settled) {
          restMs = settling.next()
          break
        }
        settling.reset()
        const outcome = await attempt(tx, interest, next.envelope)
        if (outcome.state === 'retry') {
          restMs = outcome.afterMs
          break
        }
        last = next
        if (performance.now() > until) break
      }
      if (last !== undefined) await moveCursor(tx, cursor, last)
      return restMs
    }

    const step = (): Promise<number> =>
      db.transaction(async (tx) => {
        if (!(await tryLock(tx, cursor))) return BUSY_PAUSE_MS
        const batch = await readAfterCursor(tx, cursor, { type: interest.type.$type, limit: BATCH })
        return batch.length === 0 ? pollMs : handleBatch(tx, batch)
      })

    return startLoop(step, interest.onError)
  }

  return { consume, close: async () => {} }
}
