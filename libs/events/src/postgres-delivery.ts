import type { Postgres } from '@docmesh/postgres'
import type { Delivery } from './delivery.ts'
import { attempt, type Interest } from './inbox.ts'
import { type Loop, settlingPause, startLoop } from './loop.ts'
import { moveCursor, readAfterCursor, tryLock } from './store.ts'

type PostgresDeliveryOptions = {
  db: Postgres
  /** Looks at the log this often when no notification comes. */
  pollMs: number
}

const BUSY_PAUSE_MS = 50

/** Reads the log itself: one cursor per subscriber and event type, moved in the handler's transaction. */
export const postgresDelivery = ({ db, pollMs }: PostgresDeliveryOptions): Delivery => {
  const consume = (interest: Interest): Loop => {
    const cursor = `${interest.subscriber}:${interest.type.$type}`
    const settling = settlingPause(pollMs)

    const step = (): Promise<number> =>
      db.transaction(async (tx) => {
        if (!(await tryLock(tx, cursor))) return BUSY_PAUSE_MS
        const [next] = await readAfterCursor(tx, cursor, { type: interest.type.$type, limit: 1 })
        if (next === undefined) return pollMs
        if (!next.settled) return settling.next()
        settling.reset()
        const outcome = await attempt(tx, interest, next.envelope)
        if (outcome.state === 'retry') return outcome.afterMs
        await moveCursor(tx, cursor, next)
        return 0
      })

    return startLoop(step, interest.onError)
  }

  return { consume, close: async () => {} }
}
