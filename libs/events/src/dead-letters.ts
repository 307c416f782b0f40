import type { Postgres, Queryable } from '@docmesh/postgres'
import { type Interest, reasonOf, runHandler } from './inbox.ts'
import { decodeEnvelope } from './message.ts'
import { CHANNEL, tryLock } from './store.ts'

/** An event that one subscriber gave up. */
export type DeadLetter = {
  id: bigint
  subscriber: string
  eventId: string
  type: string
  /** Message of the last failure. */
  reason: string
  attempts: number
  failedAt: Date
  /** It was asked for again and not yet tried. */
  redriving: boolean
}

/** Newest first. */
export const listDeadLetters = (db: Queryable, limit: number): Promise<DeadLetter[]> =>
  db.query<DeadLetter>(
    `select id, subscriber, event_id as "eventId", type, reason, attempts, failed_at as "failedAt",
       redrive_requested_at is not null as redriving
     from events.dead_letters order by id desc limit $1`,
    [limit],
  )

export const requestRedrive = async (db: Queryable, id: bigint): Promise<void> => {
  const found = await db.query(
    `with requested as (
       update events.dead_letters set redrive_requested_at = now() where id = $1 returning id
     )
     select pg_notify('${CHANNEL}', '') from requested`,
    [id],
  )
  if (found.length === 0) throw new Error(`there is no dead letter ${id}`)
}

/** Tries one requested dead letter once more; true when there was one. Another failure leaves it where it was. */
export const redriveNext = async (db: Postgres, interest: Interest): Promise<boolean> => {
  const { subscriber, type } = interest
  const [letter] = await db.query<{ id: bigint; envelope: Buffer }>(
    `select id, envelope from events.dead_letters
     where subscriber = $1 and type = $2 and redrive_requested_at is not null order by id limit 1`,
    [subscriber, type.$type],
  )
  if (letter === undefined) return false
  return db.transaction(async (tx) => {
    if (!(await tryLock(tx, `redrive:${letter.id}`))) return false
    const still = await tx.query(
      'select from events.dead_letters where id = $1 and redrive_requested_at is not null',
      [letter.id],
    )
    if (still.length === 0) return true
    const { error } = await runHandler(tx, interest, decodeEnvelope(letter.envelope))
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
