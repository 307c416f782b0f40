import type { Postgres, Queryable } from '@docmesh/postgres'
import { attempt, type Interests, readStandings, settleAgain } from './inbox.ts'
import { once } from './requests.ts'
import { CHANNEL, readRange, tryLock } from './store.ts'

export type ReplayOptions = {
  /** As it is registered, with its prefix. */
  subscriber: string
  fromPosition: bigint
  /** Default: the newest event. */
  toPosition?: bigint
  /** Full message names; default: all that the subscriber hears of. */
  types?: readonly string[]
  /** The same request sent again changes nothing. */
  requestId?: string
}

type Replay = {
  type: string
  from_position: bigint
  to_position: bigint
  before_xid: string
  xid: string
  position: bigint
}

const NEWEST = 2n ** 63n - 1n

const insert = async (
  tx: Queryable,
  { subscriber, fromPosition, toPosition = NEWEST, types = [] }: ReplayOptions,
): Promise<bigint> => {
  const [counted] = await tx.query<{ events: bigint }>(
    `with horizon as (select pg_snapshot_xmin(pg_current_snapshot()) as before_xid),
     wanted as (
       select log.type, log.xid, log.payload <> '' as told
       from events.log join events.subscribers using (type) cross join horizon
       where subscriber = $1 and log.position between $2 and $3 and log.xid < before_xid
         and (cardinality($4::text[]) = 0 or log.type = any($4))
     ),
     begun as (
       insert into events.replays (subscriber, type, from_position, to_position, before_xid, xid, position)
       select distinct on (type) $1, type, $2::bigint, $3::bigint, before_xid, xid, 0
       from wanted cross join horizon order by type, xid
     )
     select count(*) filter (where told) as events, pg_notify('${CHANNEL}', '') from wanted`,
    [subscriber, fromPosition, toPosition, types],
  )
  return counted?.events ?? 0n
}

/** Lets one subscriber have events again, whatever its inbox says; returns how many. Erased ones are not among them. */
export const requestReplay = (db: Postgres, options: ReplayOptions): Promise<bigint> =>
  db.transaction((tx) => {
    const id = options.requestId === undefined ? undefined : `replay:${options.requestId}`
    return once(tx, id, () => insert(tx, options))
  })

/**
 * Delivers the next event of a replay that is due; true when there was one. Progress is in the handler's transaction,
 * so each event takes effect once per request; one that keeps failing becomes a dead letter and the next one comes.
 */
export const replayNext = async (
  db: Postgres,
  subscriber: string,
  interests: Interests,
): Promise<boolean> => {
  const [due] = await db.query<{ id: bigint }>(
    `select id from events.replays
     where subscriber = $1 and type = any($2) and next_at <= clock_timestamp() order by id limit 1`,
    [subscriber, [...interests.keys()]],
  )
  if (due === undefined) return false
  return db.transaction(async (tx) => {
    if (!(await tryLock(tx, `replay:${due.id}`))) return false
    const [replay] = await tx.query<Replay>(
      `select type, from_position, to_position, before_xid::text, xid::text, position
       from events.replays where id = $1 and next_at <= clock_timestamp()`,
      [due.id],
    )
    const interest = replay && interests.get(replay.type)
    if (replay === undefined || interest === undefined) return true
    const [next] = await readRange(tx, {
      types: [replay.type],
      after: { xid: replay.xid, position: replay.position },
      beforeXid: replay.before_xid,
      fromPosition: replay.from_position,
      toPosition: replay.to_position,
      limit: 1,
    })
    if (next === undefined) {
      await tx.query('delete from events.replays where id = $1', [due.id])
      return true
    }
    const eventId = next.envelope.id
    const [standing] = await readStandings(tx, subscriber, [eventId])
    const outcome = await attempt(tx, interest, next.envelope, standing, { again: true })
    if (outcome.state === 'retry')
      await tx.query(
        `update events.replays set next_at = clock_timestamp() + $2 * interval '1 millisecond' where id = $1`,
        [due.id, outcome.afterMs],
      )
    else {
      await settleAgain(tx, subscriber, eventId, outcome.state)
      await tx.query('update events.replays set xid = $2, position = $3 where id = $1', [
        due.id,
        next.xid,
        next.position,
      ])
    }
    return true
  })
}
