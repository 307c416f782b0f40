import { fileURLToPath } from 'node:url'
import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import { migrate, type Postgres, type Queryable } from '@docmesh/postgres'
import type { Metrics } from '@docmesh/telemetry'
import { type DeadLetter, listDeadLetters, redriveNext, requestRedrive } from './dead-letters.ts'
import type { Delivery } from './delivery.ts'
import type { Interest } from './inbox.ts'
import { jetStreamDelivery } from './jetstream-delivery.ts'
import { type Loop, startLoop } from './loop.ts'
import type { EventOf, MessageType } from './message.ts'
import { type JetStreamOptions, jetStreamConnection } from './nats.ts'
import { observeEvents } from './observe.ts'
import { postgresDelivery } from './postgres-delivery.ts'
import { startRelay } from './relay.ts'
import { CHANNEL, type Erase, erase, history, type Publish } from './store.ts'

export type EventsOptions = {
  /** Database of the service; the events live in its schema `events`, beside the state they announce. */
  db: Postgres
  /** Deliver over JetStream; without it, over PostgreSQL. */
  natsUrl?: string | undefined
  /** Put before every subscriber's name; default ''. */
  subscriberPrefix?: string
  /** Default `DOCMESH`; meshes that share a NATS server need streams of their own. */
  stream?: string
  /** Put before every NATS subject; default '' on the default stream, else the name of the stream and a dot. */
  subjectPrefix?: string
  /** How often to look without being notified; default 1 000. */
  pollMs?: number
  /** JetStream only: an instance silent for this long loses its message to another; default 5 000. */
  ackWaitMs?: number
  metrics?: Metrics
  /** Hears of failed handlers and of servers that do not answer; everything goes on by itself. */
  onError?: (error: Error) => void
}

export type SubscribeOptions<M extends MessageType> = {
  /** Instances with one name share the work. */
  subscriber: string
  events: readonly M[]
  /** Runs in a transaction: what it does in `tx` happens once per event. Do slow work before the first write. */
  handler: (event: EventOf<M>, tx: Queryable) => Promise<void>
  /** Then the event is a dead letter and the next one comes; default 5. */
  maxAttempts?: number
  /** Pause in milliseconds after failed attempt n, from 1; default 200 ms × 4ⁿ⁻¹, at most 30 s. */
  backoff?: (attempt: number) => number
}

export type Subscription = { close(): Promise<void> }

export type Events = {
  publish: Publish
  erase: Erase
  subscribe<M extends MessageType>(options: SubscribeOptions<M>): Subscription
  history(aggregateType: string, aggregateId: string): Promise<EventEnvelope[]>
  /** Newest first; default 100. */
  deadLetters(options?: { limit?: number }): Promise<DeadLetter[]>
  /** Lets the subscriber try a dead letter once more; when it fails again it stays one. */
  redrive(id: bigint): Promise<void>
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const DEFAULT_STREAM = 'DOCMESH'
const MIGRATIONS = fileURLToPath(new URL('../migrations', import.meta.url))
const defaultBackoff = (attempt: number): number => Math.min(200 * 4 ** (attempt - 1), 30_000)

/** Events of one service: append and subscribe. NATS may be away at any time, also now. */
export const connectEvents = async ({
  db,
  natsUrl,
  subscriberPrefix = '',
  stream = DEFAULT_STREAM,
  subjectPrefix = stream === DEFAULT_STREAM ? '' : `${stream}.`,
  pollMs = 1_000,
  ackWaitMs = 5_000,
  metrics,
  onError = () => {},
}: EventsOptions): Promise<Events> => {
  await migrate(db, { schema: 'events', migrations: MIGRATIONS })

  const observed = observeEvents(metrics)
  // What to wake, and for which type; undefined for all.
  const loops = new Map<Loop, string | undefined>()
  const listener = await db.listen(CHANNEL, (type) => {
    for (const [loop, wanted] of loops)
      if (type === '' || wanted === undefined || type === wanted) loop.wake()
  })

  const openDelivery = (): Delivery => {
    if (natsUrl === undefined) return postgresDelivery({ db, pollMs })
    const options: JetStreamOptions = { natsUrl, stream, subjectPrefix, ackWaitMs }
    const nats = jetStreamConnection(options)
    loops.set(startRelay({ db, nats, options, pollMs, onError }), undefined)
    return jetStreamDelivery({ db, nats, options })
  }
  const delivery = openDelivery()

  const subscribe: Events['subscribe'] = ({
    subscriber,
    events,
    handler,
    maxAttempts = 5,
    backoff = defaultBackoff,
  }) => {
    if (!Number.isInteger(maxAttempts) || maxAttempts < 1)
      throw new RangeError(`maxAttempts ${maxAttempts}: at least 1`)
    const own: Loop[] = []
    for (const type of events) {
      const interest: Interest = {
        subscriber: `${subscriberPrefix}${subscriber}`,
        type,
        handler: handler as Interest['handler'],
        maxAttempts,
        backoff,
        onError,
        observe: observed.attempt,
      }
      const redrive = startLoop(async () => ((await redriveNext(db, interest)) ? 0 : pollMs), onError)
      const deliver = delivery.consume(interest)
      loops.set(deliver, type.$type)
      loops.set(redrive, '')
      own.push(deliver, redrive)
    }
    return {
      close: async () => {
        for (const loop of own) loops.delete(loop)
        await Promise.all(own.map((loop) => loop.close()))
      },
    }
  }

  const close = async (): Promise<void> => {
    await listener.close()
    await Promise.all([...loops.keys()].map((loop) => loop.close()))
    loops.clear()
    await delivery.close()
  }

  return {
    publish: observed.publish,
    erase,
    subscribe,
    history: (aggregateType, aggregateId) => history(db, aggregateType, aggregateId),
    deadLetters: ({ limit = 100 } = {}) => listDeadLetters(db, limit),
    redrive: (id) => requestRedrive(db, id),
    close,
    [Symbol.asyncDispose]: close,
  }
}
