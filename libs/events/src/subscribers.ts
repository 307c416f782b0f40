import type { Queryable } from '@docmesh/postgres'

/** Who hears of events, by the name that its dead letters and replays go by. */
export type Subscriber = {
  subscriber: string
  /** Full message names. */
  types: string[]
  lastSeen: Date
}

/** Says that there is an instance that hears of these types. */
export const enrol = async (db: Queryable, subscriber: string, types: readonly string[]): Promise<void> => {
  await db.query(
    `insert into events.subscribers (subscriber, type) select $1, unnest($2::text[])
     on conflict (subscriber, type) do update set last_seen = now()`,
    [subscriber, types.toSorted()],
  )
}

/** Those of which an instance was seen in this time, with the types that it heard of. */
export const listSubscribers = (db: Queryable, seenWithinMs: number): Promise<Subscriber[]> =>
  db.query<Subscriber>(
    `select subscriber, array_agg(type order by type) as types, max(last_seen) as "lastSeen"
     from events.subscribers where last_seen > now() - $1 * interval '1 millisecond'
     group by subscriber order by subscriber`,
    [seenWithinMs],
  )
