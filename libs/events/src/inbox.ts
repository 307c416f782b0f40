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

/** `duplicate`: it was dealt with before, so there is nothing to settle. */
export type Outcome = { state: 'handled' | 'duplicate' | 'dead' } | { state: 'retry'; afterMs: number }

const OBSERVED = {
  handled: 'success',
  duplicate: 'duplicate',
  retry: 'failure',
  dead: 'dead_letter',
} as const

/** What is known of a subscriber's copy of an event. */
export type Standing = {
  seen: boolean
  due_in_ms: number
  /** As the log has it now, empty when it was erased; null for what is not in the log. */
  payload: Buffer | null
}

const UNKNOWN: Standing = { seen: false, due_in_ms: 0, payload: null }

/** In the order of `eventIds`. */
export const readStandings = (
  tx: Queryable,
  subscriber: string,
  eventIds: readonly string[],
): Promise<Standing[]> =>
  tx.query<Standing>(
    `select exists (select from events.inbox where subscriber = $1 and inbox.event_id = asked.event_id)
         or coalesce((log.xid, log.position) <= (handled_xid, handled_position), false) as seen,
       coalesce((select ceil(extract(epoch from next_at - clock_timestamp()) * 1000)::int
                 from events.attempts where subscriber = $1 and attempts.event_id = asked.event_id), 0) as due_in_ms,
       log.payload
     from unnest($2::text[]) with ordinality as asked(event_id, place)
     left join events.log on log.id = events.log_id(asked.event_id)
     left join events.subscribers known on known.subscriber = $1 and known.type = log.type
     order by place`,
    [subscriber, eventIds],
  )

/** What PostgreSQL can store of an error: text of at most 1,000 characters, none of them NUL. */
export const reasonOf = (error: unknown): string => {
  const said = (error as { message?: unknown } | undefined)?.message ?? error
  return String(said).slice(0, 1_000).replaceAll('\0', '\ufffd')
}

/** Runs the handler; when it fails, nothing it did in `tx` stays, and `tx` can go on. */
export const runHandler = async (
  tx: Queryable,
  { subscriber, type, handler, onError }: Interest,
  envelope: EventEnvelope,
): Promise<{ error?: unknown }> => {
  let refused: { error: unknown } | undefined
  const noting: Queryable = {
    query: (text, values) =>
      tx.query<never>(text, values).catch((error) => {
        refused ??= { error }
        throw error
      }),
  }
  const opened = tx.query('savepoint handler') // on its way with the handler's first query
  opened.catch(() => {})
  try {
    await handler(decodeEvent(type, envelope), noting)
    await opened
    // A handler that catches the error of a query leaves a transaction that can do nothing more, unless it went back.
    if (refused !== undefined)
      await tx.query('release savepoint handler').catch(() => {
        throw refused?.error
      })
    return {}
  } catch (error) {
    await opened
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
  // The row of the log is locked, so that an erasure comes before, and nothing is kept, or after, and deletes it.
  const kept = await tx.query(
    `with erased as (select payload = '' as erased from events.log where id = events.log_id($2) for share)
     insert into events.dead_letters (subscriber, event_id, type, envelope, reason, attempts)
     select $1, $2, $3, $4, $5, $6 where not exists (select from erased where erased)
     on conflict (subscriber, event_id) do update set reason = excluded.reason, failed_at = now(),
       attempts = dead_letters.attempts + excluded.attempts, redrive_requested_at = null
     returning id`,
    [
      subscriber,
      envelope.id,
      envelope.type,
      Buffer.from(EventEnvelope.encode(envelope).finish()),
      reasonOf(error),
      attempts,
    ],
  )
  return { state: kept.length > 0 ? 'dead' : 'handled' }
}

/** After the handlers, not before: a transaction that has written holds up every reader of the log until it ends. */
export const settle = (tx: Queryable, subscriber: string, eventIds: readonly string[]): Promise<unknown> =>
  tx.query(
    `with forgotten as (delete from events.attempts where subscriber = $1 and event_id = any($2))
     insert into events.inbox (subscriber, event_id) select $1, unnest($2::text[])`,
    [subscriber, eventIds],
  )

/** What was handled at last is no dead letter any more. */
export const settleAgain = (
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
 * One attempt at one event: the handler and the count of attempts are in `tx`. The last failure, or a payload that
 * cannot be decoded, makes the event a dead letter. The caller holds the lock on this subscriber's copy of the event,
 * and settles in `tx` what was handled or is dead: then its effects are there exactly once. An event that was erased
 * has nothing to say and is passed over. With `again` the inbox has no say: the caller keeps count of what was asked for.
 */
export const attempt = async (
  tx: Queryable,
  interest: Interest,
  envelope: EventEnvelope,
  standing: Standing | undefined,
  { again = false }: { again?: boolean } = {},
): Promise<Outcome> => {
  const { subscriber, observe } = interest
  const { seen, due_in_ms: afterMs } = standing ?? UNKNOWN
  if (seen && !again) {
    observe(subscriber, envelope, 'duplicate')
    return { state: 'duplicate' }
  }
  if (afterMs > 0) return { state: 'retry', afterMs }

  const erased = envelope.payload.length === 0 // a message says at least whom it is about
  const { error } = erased ? {} : await runHandler(tx, interest, envelope)
  const outcome: Outcome =
    error === undefined ? { state: 'handled' } : await recordFailure(tx, interest, envelope, error)
  observe(subscriber, envelope, again && error === undefined ? 'replayed' : OBSERVED[outcome.state])
  return outcome
}
