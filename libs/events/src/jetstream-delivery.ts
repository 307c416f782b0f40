import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Postgres } from '@docmesh/postgres'
import type { JsMsg } from '@nats-io/jetstream'
import { attemptInTurn, BATCH } from './batch.ts'
import type { Delivery } from './delivery.ts'
import { type Interest, type Outcome, reasonOf, settle } from './inbox.ts'
import { type Loop, startLoop } from './loop.ts'
import { decodeEnvelope, UndecodableError } from './message.ts'
import {
  encodeForWire,
  ensureConsumer,
  type JetStreamConnection,
  type JetStreamOptions,
  type Session,
} from './nats.ts'
import { readAfterEvent, tryLock } from './store.ts'

type JetStreamDeliveryOptions = {
  db: Postgres
  nats: JetStreamConnection
  options: JetStreamOptions
}

const BUSY_PAUSE_MS = 200
/** The consumer lets one message out at a time; a longer standing order saves asking for the next. */
const PULL = { max_messages: 100, expires: 5_000, idle_heartbeat: 1_000, abort_on_missing_resource: true }

/**
 * Pulls from one durable consumer per subscriber and event type; the handler's effects are in PostgreSQL as ever. A
 * message that others wait behind takes the next of its type along from the log, in the same order: these are
 * acknowledged without another transaction when their own messages come.
 */
export const jetStreamDelivery = ({ db, nats, options }: JetStreamDeliveryOptions): Delivery => {
  const publishDead = (session: Session, subscriber: string, envelope: EventEnvelope) =>
    session.js.publish(`${options.subjectPrefix}dlq.${envelope.type}`, encodeForWire(session, envelope), {
      msgID: `${subscriber}:${envelope.id}`,
    })

  /** Returns how the received event ended, and the ids of those after it that are dealt with too. */
  const handle = (
    session: Session,
    interest: Interest,
    received: EventEnvelope,
    waiting: number,
  ): Promise<{ outcome: Outcome; ahead: string[] }> => {
    const { subscriber } = interest
    const type = interest.type.$type
    const busy = { outcome: { state: 'retry', afterMs: BUSY_PAUSE_MS } as const, ahead: [] }
    return db.transaction(async (tx) => {
      const [locked, following] = await Promise.all([
        tryLock(tx, `${subscriber}:${type}`),
        waiting > 0 ? readAfterEvent(tx, { id: received.id, type }, BATCH - 1) : [],
      ])
      if (!locked) return busy
      const events = [received, ...following]
      const { outcomes, decided } = await attemptInTurn(tx, interest, events)
      const [outcome = busy.outcome] = outcomes
      // Inside the transaction: if this fails the events stay undecided and come again.
      for (const [index, event] of events.entries())
        if (outcomes[index]?.state === 'dead') await publishDead(session, subscriber, event)
      if (decided.length > 0) await settle(tx, subscriber, decided)
      return { outcome, ahead: decided.filter((id) => id !== received.id) }
    })
  }

  const receive = async (
    session: Session,
    interest: Interest,
    message: JsMsg,
    known: ReadonlySet<string>,
  ): Promise<ReadonlySet<string>> => {
    const heartbeat = setInterval(() => message.working(), options.ackWaitMs / 3).unref()
    try {
      const received = decodeEnvelope(message.data)
      if (known.has(received.id)) {
        message.ack()
        return known
      }
      const { outcome, ahead } = await handle(session, interest, received, message.info.pending)
      if (outcome.state === 'retry') message.nak(outcome.afterMs)
      else if (outcome.state === 'dead') message.term('dead letter')
      else message.ack()
      return new Set(ahead)
    } catch (error) {
      interest.onError(error as Error)
      if (error instanceof UndecodableError) message.term()
      else message.nak(BUSY_PAUSE_MS)
      return known
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
        let known: ReadonlySet<string> = new Set()
        for await (const message of messages) known = await receive(session, interest, message, known)
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
