import type { Postgres, Queryable } from '@docmesh/postgres'
import { attemptInTurn, BATCH } from './batch.ts'
import type { Delivery } from './delivery.ts'
import { type Interest, settle } from './inbox.ts'
import { type Loop, settlingPause, startLoop } from './loop.ts'
import { type Logged, moveCursor, readAfterCursor, tryLock } from './store.ts'

type PostgresDeliveryOptions = {
  db: Postgres
  /** Looks at the log this often when no notification comes. */
  pollMs: number
}

const BUSY_PAUSE_MS = 50

/** Reads the log itself: one cursor per subscriber and event type, moved in the transaction of the handlers. */
export const postgresDelivery = ({ db, pollMs }: PostgresDeliveryOptions): Delivery => {
  const consume = (interest: Interest): Loop => {
    const cursor = `${interest.subscriber}:${interest.type.$type}`
    const settling = settlingPause(pollMs)

    const handleBatch = async (tx: Queryable, batch: readonly Logged[]): Promise<number> => {
      const settled = batch.filter((logged) => logged.settled)
      if (settled.length === 0) return settling.next()
      settling.reset()
      const { outcomes, decided } = await attemptInTurn(
        tx,
        interest,
        settled.map(({ envelope }) => envelope),
      )
      const end = outcomes.at(-1)
      const restMs = end?.state === 'retry' ? end.afterMs : 0
      const last = settled[outcomes.length - (restMs > 0 ? 2 : 1)]
      if (last !== undefined)
        await Promise.all([settle(tx, interest.subscriber, decided), moveCursor(tx, cursor, last)])
      return restMs
    }

    const step = (): Promise<number> =>
      db.transaction(async (tx) => {
        const [locked, batch] = await Promise.all([
          tryLock(tx, cursor),
          readAfterCursor(tx, cursor, { type: interest.type.$type, limit: BATCH }),
        ])
        if (!locked) return BUSY_PAUSE_MS
        return batch.length === 0 ? pollMs : handleBatch(tx, batch)
      })

    return startLoop(step, interest.onError)
  }

  return { consume, close: async () => {} }
}
