import { setTimeout as delay } from 'node:timers/promises'
import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import { DatabaseUnavailable, type Queryable } from '@docmesh/postgres'
import type { Bell } from './bell.ts'
import { settlingPause } from './loop.ts'
import { type Place, readRange } from './store.ts'

export type TailOptions = {
  /** Full message names; default: all. */
  types?: readonly string[]
  /** Default: all. */
  aggregateId?: string
  /** Begin there; default: with the next new event. */
  fromPosition?: bigint | undefined
  /** Go on with new events; false ends with what is committed now. */
  follow: boolean
  /** Ends it, without an error. */
  signal: AbortSignal
}

/** An event and where it stands in the log. */
export type Tailed = { envelope: EventEnvelope; position: bigint }

type TailDeps = {
  db: Queryable
  /** Rings when there may be something new. */
  bell: Bell
  /** Looks this often when nobody rings. */
  pollMs: number
}

const BATCH = 100
/** Of many events in a row a tail reads some at a time, so that it asks the database at most this often. */
const GATHER_MS = 20
const OUTAGE_PAUSE_MS = 500
/** Longer than that without the database, and whoever reads is told. */
const OUTAGE_MS = 30_000

type Start = { snapshot: string; xid: string }

/** No event of the tail comes before this one, also none that commits late. */
const findStart = async (db: Queryable, fromPosition: bigint | undefined): Promise<Start> => {
  const [start] = await db.query<Start>(
    `select pg_current_snapshot()::text as snapshot, least(
       pg_snapshot_xmin(pg_current_snapshot()),
       (select xid from events.log where position >= $1 order by xid, position limit 1))::text as xid`,
    [fromPosition ?? null],
  )
  if (start === undefined) throw new Error('PostgreSQL gave no snapshot')
  return start
}

const horizon = async (db: Queryable): Promise<string> => {
  const [row] = await db.query<{ xid: string }>('select pg_snapshot_xmin(pg_current_snapshot())::text as xid')
  return row?.xid ?? '0'
}

/**
 * Events in the order of the relay, each once and none stepped over. Reads a batch when the one before was taken, so a
 * slow reader costs nothing but its place. Throws DatabaseUnavailable when the database is away for half a minute.
 */
export async function* tailLog({ db, bell, pollMs }: TailDeps, options: TailOptions): AsyncGenerator<Tailed> {
  const { fromPosition, follow, signal } = options
  const { snapshot, xid } = await findStart(db, fromPosition)
  // Without an end, what is settled; with one, what was committed at the start, which no late commit can join.
  const { bounds, beforeXid } = follow
    ? { bounds: fromPosition === undefined ? { unseenBy: snapshot } : {}, beforeXid: () => horizon(db) }
    : { bounds: { seenBy: snapshot }, beforeXid: async () => snapshot.split(':')[1] ?? '0' }
  if (!follow && fromPosition === undefined) return

  const readBatch = async (after: Place) => {
    const before = await beforeXid()
    const batch = await readRange(db, { ...options, ...bounds, after, beforeXid: before, limit: BATCH })
    const last = batch.length < BATCH ? { xid: before, position: 0n } : batch.at(-1)
    return { batch, next: last ?? after }
  }

  let after: Place = { xid, position: 0n }
  let awaySince: number | undefined
  const settling = settlingPause(pollMs)
  while (!signal.aborted) {
    let read: Awaited<ReturnType<typeof readBatch>>
    try {
      read = await readBatch(after)
      awaySince = undefined
    } catch (error) {
      awaySince ??= performance.now()
      if (!(error instanceof DatabaseUnavailable) || performance.now() - awaySince > OUTAGE_MS) throw error
      await bell.rest(OUTAGE_PAUSE_MS, signal)
      continue
    }
    for (const { envelope, position } of read.batch) {
      if (signal.aborted) return
      yield { envelope, position }
    }
    after = read.next
    if (read.batch.length === BATCH) continue
    if (!follow) return
    if (read.batch.length > 0) settling.reset()
    await delay(GATHER_MS, undefined, { signal, ref: false }).catch(() => {})
    if (await bell.rest(settling.next(), signal)) settling.reset()
  }
}
