import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Postgres } from '@docmesh/postgres'
import type { JetStreamClient, JsMsg } from '@nats-io/jetstream'
import type { Delivery } from './delivery.ts'
import { attempt, type Interest, type Outcome, reasonOf } from './inbox.ts'
import { type Loop, startLoop } from './loop.ts'
import { decodeEnvelope, UndecodableError } from './message.ts'
import { ensureConsumer, type JetStreamConnection, type JetStreamOptions } from './nats.ts'
import { tryLock } from './store.ts'

type JetStreamDeliveryOptions = {
  db: Postgres
  nats: JetStreamConnection
  options: JetStreamOptions
}

const BUSY_PAUSE_MS = 200
/** The consumer lets one message out at a time; a longer standing order saves asking for the next. */
const PULL = { max_messages: 100, expires: 5_000, idle_heartbeat: 1_000, abort_on_missing_resource: true }

/** Pulls from one durable consumer per subscriber and event type; the handler's effects are in PostgreSQL as ever. */
export const jetStreamDelivery = ({ db, nats, options }: JetStreamDeliveryOptions): Delivery => {
  const handle = async (js: JetStreamClient, interest: Interest, bytes: Uint8Array): Promise<Outcome> => {
    const envelope = decodeEnvelope(bytes)
    return db.transaction(async (tx) => {
      if (!(await tryLock(tx, `${interest.subscriber}:${envelope.id}`)))
        return { state: 'retry', afterMs: BUSY_PAUSE_MS }
      const outcome = await attempt(tx, interest, envelope)
      // Inside the transaction: if this fails the event stays undecided and comes again.
      if (outcome.state === 'dead')
        await js.publish(
          `${options.subjectPrefix}dlq.${envelope.type}`,
          EventEnvelope.encode(envelope).finish(),
          { msgID: `${interest.subscriber}:${envelope.id}` },
        )
      return outcome
    })
  }

  const receive = async (js: JetStreamClient, interest: Interest, message: JsMsg): Promise<void> => {
    const heartbeat = setInterval(() => message.working(), options.ackWaitMs / 3).unref()
    try {
      const outcome = await handle(js, interest, message.data)
      if (outcome.state === 'handled') message.ack()
      else if (outcome.state === 'dead') message.term('dead letter')
      else message.nak(outcome.afterMs)
    } catch (error) {
      interest.onError(error as Error)
      if (error instanceof UndecodableError) message.term()
      else message.nak(BUSY_PAUSE_MS)
    } finally {
      clearInterval(heartbeat)
    }
  }

  const consume = (interest: Interest): Loop => {
    const pull = async (signal: AbortSignal): Promise<number> => {
      const session = await nats.open()
      const consumer = await ensureConsumer(session, options, {
        subscriber: interest.subscriber,
        type: interest.type.$type,
      })
      const messages = await consumer.consume(PULL)
      const stop = (): void => messages.stop()
      signal.addEventListener('abort', stop)
      if (signal.aborted) stop()
      try {
        for await (const message of messages) await receive(session.js, interest, message)
      } finally {
        signal.removeEventListener('abort', stop)
        stop()
      }
      return BUSY_PAUSE_MS
    }
    const step = (signal: AbortSignal) =>
      pull(signal).catch((error) => {
        nats.distrust()
        throw new Error(`${interest.subscriber} on ${interest.type.$type}: ${reasonOf(error)}`, {
          cause: error,
        })
      })
    return startLoop(step, interest.onError)
  }

  return { consume, close: () => nats.close() }
}
