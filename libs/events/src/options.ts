import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Metrics } from '@docmesh/telemetry'
import type { DeadLetter, DeadLettersOptions, RedriveOptions } from './dead-letters.ts'
import type { EventOf, MessageType } from './message.ts'
import type { ReplayOptions } from './replays.ts'
import type { Erase, Publish } from './store.ts'
import type { Subscriber } from './subscribers.ts'
import type { Tailed, TailOptions } from './tail.ts'

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
  /** What was dealt with longer ago is forgotten row by row, and kept known by a mark; default 30 days. */
  retentionMs?: number
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
  /** What is committed, as it is committed; ends when these events are closed. */
  tail(options: TailOptions): AsyncGenerator<Tailed>
  /** Those that were seen within the retention. */
  subscribers(): Promise<Subscriber[]>
  /** Lets one subscriber have events again, although it has dealt with them; returns how many. */
  replay(options: ReplayOptions): Promise<bigint>
  /** Newest first. */
  deadLetters(options?: DeadLettersOptions): Promise<DeadLetter[]>
  /** Lets the subscriber try dead letters once more, and returns how many; those that fail again stay. */
  redrive(options: RedriveOptions): Promise<bigint>
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
