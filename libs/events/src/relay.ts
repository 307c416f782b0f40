import type { Postgres } from '@docmesh/postgres'
import { reasonOf } from './inbox.ts'
import { type Loop, settlingPause, startLoop } from './loop.ts'
import { encodeForWire, type JetStreamConnection, type JetStreamOptions } from './nats.ts'
import { moveCursor, readAfterCursor, tryLock } from './store.ts'

const BATCH = 100

type RelayOptions = {
  db: Postgres
  nats: JetStreamConnection
  options: JetStreamOptions
  pollMs: number
  onError: (error: Error) => void
}

/**
 * Copies the log to JetStream in its own order, one instance at a time. A crash between publishing and moving the
 * cursor publishes again under the same message id, which JetStream and then the inbox recognise.
 */
export const startRelay = ({ db, nats, options, pollMs, onError }: RelayOptions): Loop => {
  const cursor = `relay:${options.subjectPrefix}${options.stream}`

  const settling = settlingPause(pollMs)

  const relayBatch = async (): Promise<number> => {
    const session = await nats.open()
    return db.transaction(async (tx) => {
      const [locked, batch] = await Promise.all([
        tryLock(tx, cursor),
        readAfterCursor(tx, cursor, { limit: BATCH }),
      ])
      if (!locked) return pollMs
      const settled = batch.filter((logged) => logged.settled)
      for (const { envelope } of settled)
        await session.js.publish(
          `${options.subjectPrefix}${envelope.type}`,
          encodeForWire(session, envelope),
          { msgID: envelope.id },
        )
      const last = settled.at(-1)
      if (last !== undefined) {
        // A crash that undoes it publishes again: not worth a trip to the disk, which the next event would wait for.
        await Promise.all([tx.query('set local synchronous_commit to off'), moveCursor(tx, cursor, last)])
      }
      if (batch.length > settled.length) return settling.next()
      settling.reset()
      return batch.length === BATCH ? 0 : pollMs
    })
  }

  const step = () =>
    relayBatch().catch((error) => {
      nats.distrust()
      throw new Error(`event relay: ${reasonOf(error)}`, { cause: error })
    })
  return startLoop(step, onError)
}
