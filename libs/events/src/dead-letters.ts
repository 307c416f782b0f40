import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Postgres, Queryable } from '@docmesh/postgres'
import { type Interests, reasonOf, runHandler } from './inbox.ts'
import { decodeEnvelope } from './message.ts'
import { once } from './requests.ts'
import { CHANNEL, tryLock } from './store.ts'

/** An event that one subscriber gave up. */
export type DeadLetter = {
  id: bigint
  subscriber: string
  eventId: string
  type: string
  envelope: EventEnvelope
  /** Message of the last failure. */
  reason: string
  attempts: number
  failedAt: Date
  /** It was asked for again and not yet tried. */
  redriving: boolean
}

export type DeadLettersOptions = {
  /** Default 100. */
  limit?: number
  /** Default: of all. */
  subscriber?: string | undefined
  /** Only older ones than this. */
  beforeId?: bigint | undefined
}

/** Newest first. */
export const listDeadLetters = async (
  db: Queryable,
  { limit = 100, subscriber, beforeId }: DeadLettersOptions = {},
): Promise<DeadLetter[]> => {
  const rows = await db.query<Omit<DeadLetter, 'envelope'> & { envelope: Buffer }>(
    `select id, subscriber, event_id as "eventId", type, envelope, reason, attempts, failed_at as "failedAt",
       redrive_requested_at is not null as redriving
     from events.dead_letters
     where ($2::text is null or subscriber = $2) and ($3::bigint is null or id < $3)
     order by id desc limit $1`,
    [limit, subscriber ?? null, beforeId ?? null],
  )
  return rows.map((row) => ({ ...row, envelope: decodeEnvelope(row.envelope) }))
}

/** What to try once more: dead letters by their ids, or all of one subscriber. */
export type RedriveOptions = ({ ids: readonly bigint[] } | { subscriber: string }) & {
  /** The same request sent again changes nothing. */
  requestId?: string
}

const request = async (tx: Queryable, which: RedriveOptions): Promise<bigint> => {
  const [column, value] = 'ids' in which ? ['id', which.ids] : ['subscriber', [which.subscriber]]
  const [counted] = await tx.query<{ events: bigint }>(
    `with requested as (
       update events.dead_letters set redrive_requested_at = now() where ${column} = any($1) returning id
     )
     select count(*) as events, pg_notify('${CHANNEL}', '') from requested`,
    [value],
  )
  return counted?.events ?? 0n
}

/** Returns how many are tried once more; ids that are not there are passed over. */
export const requestRedrive = (db: Postgres, options: RedriveOptions): Promise<bigint> =>
  db.transaction((tx) => {
    const id = options.requestId === undefined ? undefined : `redrive:${options.requestId}`
    return once(tx, id, () => request(tx, options))
  })

/** Tries one requested dead letter once more; true when there was one. Another failure leaves it where it was. */
export const redriveNext = async (
  db: Postgres,
  subscriber: string,
  interests: Interests,
): Promise<boolean> => {
  const [letter] = await db.query<{ id: bigint; type: string; envelope: Buffer }>(
    `select id, type, envelope from events.dead_letters
     where subscriber = $1 and type = any($2) and redrive_requested_at is not null order by id limit 1`,
    [subscriber, [...interests.keys()]],
  )
  const interest = letter && interests.get(letter.type)
  if (letter === undefined || interest === undefined) return false
  return db.transaction(async (tx) => {
    if (!(await tryLock(tx, `redrive:${letter.id}`))) return false
    const still = await tx.query(
      'select from events.dead_letters where id = $1 and redrive_requested_at is not null',
      [letter.id],
    )
    if (still.length === 0) return true
    const envelope = decodeEnvelope(letter.envelope)
    const { error } = await runHandler(tx, interest, envelope)
    interest.observe(subscriber, envelope, error === undefined ? 'replayed' : 'failure')
    if (error === undefined) await tx.query('delete from events.dead_letters where id = $1', [letter.id])
    else
      await tx.query(
        `update events.dead_letters set redrive_requested_at = null, failed_at = now(), attempts = attempts + 1,
           reason = $2 where id = $1`,
        [letter.id, reasonOf(error)],
      )
    return true
  })
}
