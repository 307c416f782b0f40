import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Postgres } from '@docmesh/postgres'
import { reasonOf } from './inbox.ts'
import { type Loop, settlingPause, startLoop } from './loop.ts'
import type { JetStreamConnection, JetStreamOptions } from './nats.ts'
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
    const { js } = await nats.open()
    return db.transaction(async (tx) => {
      if (!(await tryLock(tx, cursor))) return pollMs
      const batch = await readAfterCursor(tx, cursor, { limit: BATCH })
      const settled = batch.filter((logged) => logged.settled)
      for (const { envelope } of settled)
        await js.publish(
          `${options.subjectPrefix}${envelope.type}`,
          EventEnvelope.encode(envelope).finish(),
          { msgID: envelope.id },
        )
      const last = settled.at(-1)
      if (last !== undefined) {
        // A crash that undoes it publishes again: not worth a trip to the disk, which the next event would wait for.
        await tx.query('set local synchronous_commit to off')
        await moveCursor(tx, cursor, last)
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
