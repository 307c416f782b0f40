import type { Postgres, Queryable } from '@docmesh/postgres'
import { type Loop, startLoop } from './loop.ts'
import { tryLock } from './store.ts'

type PruningOptions = {
  db: Postgres
  /** What was dealt with longer ago than this is forgotten row by row. */
  retentionMs: number
  onError: (error: Error) => void
}

/** Few, because a transaction that has written holds up the readers of the log until it ends. */
const BATCH = 500
const BETWEEN_BATCHES_MS = 100
const PAUSE_MS = 3_600_000

const pruneInbox = async (tx: Queryable, retentionMs: number): Promise<number> => {
  const [counted] = await tx.query<{ pruned: number }>(
    `with old as (
       select subscriber, event_id from events.inbox
       where handled_at < now() - $1 * interval '1 millisecond' order by handled_at limit $2
     ),
     gone as (
       delete from events.inbox using old
       where inbox.subscriber = old.subscriber and inbox.event_id = old.event_id
       returning inbox.subscriber, inbox.event_id
     ),
     marks as (
       select distinct on (subscriber, type) subscriber, type, xid, position
       from gone join events.log on log.id = events.log_id(event_id)
       order by subscriber, type, xid desc, position desc
     ),
     marked as (
       insert into events.subscribers as known (subscriber, type, last_seen, handled_xid, handled_position)
       select subscriber, type, '-infinity', xid, position from marks
       on conflict (subscriber, type) do update
       set handled_xid = excluded.handled_xid, handled_position = excluded.handled_position
       where known.handled_xid is null
         or (known.handled_xid, known.handled_position) < (excluded.handled_xid, excluded.handled_position)
     )
     select count(*)::int as pruned from gone`,
    [retentionMs, BATCH],
  )
  return counted?.pruned ?? 0
}

const AGES = { attempts: 'next_at', replays: 'requested_at', requests: 'requested_at' } as const

const pruneByAge = async (tx: Queryable, table: keyof typeof AGES, retentionMs: number): Promise<number> => {
  const gone = await tx.query(
    `delete from events.${table} where ctid = any(array(
       select ctid from events.${table} where ${AGES[table]} < now() - $1 * interval '1 millisecond' limit $2))
     returning 1`,
    [retentionMs, BATCH],
  )
  return gone.length
}

/**
 * Forgets what is old, one instance at a time and a little at a time. An event of an inbox that was pruned stays known
 * as dealt with, by the mark of its type: it is not delivered twice however late it comes again.
 */
export const startPruning = ({ db, retentionMs, onError }: PruningOptions): Loop => {
  const step = (): Promise<number> =>
    db.transaction(async (tx) => {
      if (!(await tryLock(tx, 'prune'))) return PAUSE_MS
      const pruned = [await pruneInbox(tx, retentionMs)]
      for (const table of ['attempts', 'replays', 'requests'] as const)
        pruned.push(await pruneByAge(tx, table, retentionMs))
      return pruned.includes(BATCH) ? BETWEEN_BATCHES_MS : PAUSE_MS
    })
  return startLoop(step, onError)
}
