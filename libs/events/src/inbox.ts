import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Queryable } from '@docmesh/postgres'
import { decodeEvent, type Event, type MessageType, UndecodableError } from './message.ts'

/** One subscriber's interest in one event type. */
export type Interest = {
  subscriber: string
  type: MessageType
  /** Its queries in `tx` and the note that the event is handled commit together. */
  handler: (event: Event, tx: Queryable) => Promise<void>
  maxAttempts: number
  /** Pause in milliseconds after the given failed attempt, from 1. */
  backoff: (attempt: number) => number
  onError: (error: Error) => void
  observe: Observe
}

/** What one subscriber hears of, by type. */
export type Interests = ReadonlyMap<string, Interest>

/** Hears how every attempt ended; `replayed` is a success of an event that was asked for again. */
export type Observe = (
  subscriber: string,
  envelope: EventEnvelope,
  outcome: 'success' | 'failure' | 'duplicate' | 'dead_letter' | 'replayed',
) => void

export type Outcome = { state: 'handled' } | { state: 'retry'; afterMs: number } | { state: 'dead' }

const OBSERVED = { handled: 'success', retry: 'failure', dead: 'dead_letter' } as const

type Standing = { seen: boolean; due_in_ms: number }

const readStanding = async (tx: Queryable, subscriber: string, eventId: string): Promise<Standing> => {
  const [row] = await tx.query<Standing>(
    `select exists (select from events.inbox where subscriber = $1 and event_id = $2) or exists (
         select from events.log join events.subscribers using (type)
         where log.id = events.log_id($2) and subscriber = $1
           and (log.xid, log.position) <= (handled_xid, handled_position)) as seen,
       coalesce((select ceil(extract(epoch from next_at - clock_timestamp()) * 1000)::int
                 from events.attempts where subscriber = $1 and event_id = $2), 0) as due_in_ms`,
    [subscriber, eventId],
  )
  return row ?? { seen: false, due_in_ms: 0 }
}

export const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, 1_000)

/** Runs the handler; when it fails, nothing it did in `tx` stays, and `tx` can go on. */
export const runHandler = async (
  tx: Queryable,
  { subscriber, type, handler, onError }: Interest,
  envelope: EventEnvelope,
): Promise<{ error?: unknown }> => {
  await tx.query('savepoint handler')
  try {
    await handler(decodeEvent(type, envelope), tx)
    return {}
  } catch (error) {
    await tx.query('rollback to savepoint handler')
    const message = `${subscriber} failed on ${envelope.type} ${envelope.id}: ${reasonOf(error)}`
    onError(new Error(message, { cause: error }))
    return { error: error ?? new Error('no reason given') }
  }
}

const recordFailure = async (
  tx: Queryable,
  { subscriber, maxAttempts, backoff }: Interest,
  envelope: EventEnvelope,
  error: unknown,
): Promise<Outcome> => {
  const [row] = await tx.query<{ attempts: number }>(
    `insert into events.attempts (subscriber, event_id) values ($1, $2)
     on conflict (subscriber, event_id) do update set attempts = attempts.attempts + 1
     returning attempts`,
    [subscriber, envelope.id],
  )
  const attempts = row?.attempts ?? 1
  if (attempts < maxAttempts && !(error instanceof UndecodableError)) {
    const afterMs = Math.max(1, Math.round(backoff(attempts)))
    await tx.query(
      `update events.attempts set next_at = clock_timestamp() + $3 * interval '1 millisecond'
       where subscriber = $1 and event_id = $2`,
      [subscriber, envelope.id, afterMs],
    )
    return { state: 'retry', afterMs }
  }
  await tx.query(
    `insert into events.dead_letters (subscriber, event_id, type, envelope, reason, attempts)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (subscriber, event_id) do update set reason = excluded.reason, failed_at = now(),
       attempts = dead_letters.attempts + excluded.attempts, redrive_requested_at = null`,
    [
      subscriber,
      envelope.id,
      envelope.type,
      Buffer.from(EventEnvelope.encode(envelope).finish()),
      reasonOf(error),
      attempts,
    ],
  )
  return { state: 'dead' }
}

/** After the handler, not before: a transaction that has written holds up every reader of the log until it ends. */
const settle = (tx: Queryable, subscriber: string, eventId: string): Promise<unknown> =>
  tx.query(
    `with forgotten as (delete from events.attempts where subscriber = $1 and event_id = $2)
     insert into events.inbox (subscriber, event_id) values ($1, $2)`,
    [subscriber, eventId],
  )

/** What was handled at last is no dead letter any more. */
const settleAgain = (
  tx: Queryable,
  subscriber: string,
  eventId: string,
  state: Outcome['state'],
): Promise<unknown> =>
  tx.query(
    `with forgotten as (delete from events.attempts where subscriber = $1 and event_id = $2)
     delete from events.dead_letters where subscriber = $1 and event_id = $2 and $3`,
    [subscriber, eventId, state === 'handled'],
  )

/**
 * One attempt at one event, exactly once in its effects: the handler, the inbox row and the count of attempts are in
 * `tx`. The last failure, or a payload that cannot be decoded, makes the event a dead letter. The caller holds the
 * lock on this subscriber's copy of the event. An event that was erased has nothing to say and is passed over. With
 * `again` the inbox has no say: the caller keeps count of what was asked for.
 */
export const attempt = async (
  tx: Queryable,
  interest: Interest,
  envelope: EventEnvelope,
  { again = false }: { again?: boolean } = {},
): Promise<Outcome> => {
  const { subscriber, observe } = interest
  const { seen, due_in_ms: dueInMs } = await readStanding(tx, subscriber, envelope.id)
  if (seen && !again) {
    observe(subscriber, envelope, 'duplicate')
    return { state: 'handled' }
  }
  if (dueInMs > 0) return { state: 'retry', afterMs: dueInMs }

  const erased = envelope.payload.length === 0 // a message says at least whom it is about
  const { error } = erased ? {} : await runHandler(tx, interest, envelope)
  const outcome: Outcome =
    error === undefined ? { state: 'handled' } : await recordFailure(tx, interest, envelope, error)
  observe(subscriber, envelope, again && error === undefined ? 'replayed' : OBSERVED[outcome.state])
  if (outcome.state === 'retry') return outcome
  if (again) await settleAgain(tx, subscriber, envelope.id, outcome.state)
  else await settle(tx, subscriber, envelope.id)
  return outcome
}
