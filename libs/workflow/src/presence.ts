import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import type { Logger } from '@docmesh/telemetry'
import type { Dispatches } from './dispatches.ts'
import type { RunUpkeep } from './run-upkeep.ts'

export interface PresenceOptions {
  readonly url: string
  readonly schema: string
  /** Of this start of the process. */
  readonly node: string
  readonly appVersion: string
  readonly dispatches: Dispatches
  readonly upkeep: RunUpkeep
  /** Gives the unfinished work of these executors back to the queues. */
  readonly recover: (executors: readonly string[]) => Promise<number>
  /** Others took this node for dead and have its work by now. */
  readonly onTakenOver: () => void
  /** This node gave so many runs of lost nodes back to the queues. */
  readonly onTookOver: (runs: number) => void
  readonly logger: Logger
  readonly heartbeatMs: number
  readonly deadAfterMs: number
  readonly sweepMs: number
}

export interface Presence {
  /** Runs `work` while no other node runs its own. */
  exclusively<T>(work: () => Promise<T>): Promise<T>
  /** Begins to look for nodes that are gone. */
  sweep(): void
  /** Leaves at once, so that nobody has to find out. */
  leave(): Promise<void>
}

/**
 * Says that this node lives, in two ways at once. A session advisory lock on a connection of its own is free the moment
 * the process is gone: nobody waits for a lease. A heartbeat row grows old when the process is frozen or its connection
 * half open, which the lock alone would not show. A node is dead when its lock is free or its heartbeat is older than
 * `deadAfterMs`. To be wrong about that costs a step done again and nothing else: writes are fenced.
 */
export async function joinNodes({
  url,
  schema,
  node,
  appVersion,
  dispatches,
  upkeep,
  recover,
  onTakenOver,
  onTookOver,
  logger,
  heartbeatMs,
  deadAfterMs,
  sweepMs,
}: PresenceOptions): Promise<Presence> {
  const db = await openPostgres({
    url,
    schema,
    poolMax: 1,
    applicationName: `${schema}:${node}`,
    statementTimeoutMs: deadAfterMs,
    connectTimeoutMs: deadAfterMs,
  })
  const leaving = new AbortController()
  const timers: NodeJS.Timeout[] = []
  // A node that was cut off cannot tell who else was: it gives the others the time to come back before it judges.
  let judgesFromMs = 0

  async function beat(): Promise<void> {
    const rows = await db.query(
      `with alive as (update ${schema}.nodes set beat_at = clock_timestamp() where id = $1 returning lock_key)
       select pg_try_advisory_lock(${lockClass(schema)}, lock_key) from alive`,
      [node],
    )
    if (rows.length > 0) return
    onTakenOver()
    await register(db, schema, node, appVersion)
  }

  async function sweepOnce(): Promise<void> {
    if (performance.now() < judgesFromMs) return
    const dead = await deadNodes(db, { schema, node, appVersion, deadAfterMs })
    const unknown = await dispatches.unknownExecutors(db, appVersion)
    const others = unknown.filter((id) => id !== node)
    const lost = [...dead.filter(({ ours }) => ours).map(({ id }) => id), ...others]
    if (lost.length > 0) {
      const recovered = await recover(lost)
      onTookOver(recovered)
      logger.warn({ nodes: lost, runs: recovered }, 'took over from lost nodes')
    }
    // Not before: if recovery fails, or this node dies in it, the row brings the next sweep here again.
    for (const { id, beat_at } of dead)
      await db.query(`delete from ${schema}.nodes where id = $1 and beat_at = $2::timestamptz`, [id, beat_at])
  }

  async function adoptOrphans(): Promise<void> {
    const stranded = await upkeep.adoptStranded()
    if (stranded > 0) logger.warn({ jobs: stranded }, 'took over jobs that waited for a version that is gone')
    const adopted = await upkeep.adoptOrphans(deadAfterMs)
    if (adopted > 0) logger.warn({ runs: adopted }, 'queued runs again that nobody was running')
  }

  /** One at a time, and never twice at once. */
  function every(ms: number, work: () => Promise<void>, onError: (error: unknown) => void): void {
    let busy = false
    const tick = async (): Promise<void> => {
      if (busy || leaving.signal.aborted) return
      busy = true
      try {
        await work()
      } catch (error) {
        if (!leaving.signal.aborted) onError(error)
      } finally {
        busy = false
      }
    }
    timers.push(setInterval(() => void tick(), ms).unref())
  }

  await register(db, schema, node, appVersion)
  every(heartbeatMs, beat, (err) => {
    judgesFromMs = performance.now() + 2 * heartbeatMs
    logger.warn({ err }, 'no heartbeat: the database does not answer')
  })

  return {
    async exclusively(work) {
      // Asked for again and again: a session that waits in the server has a snapshot, and the indexes that the engine
      // builds concurrently wait for every snapshot, which would be a deadlock.
      while ((await db.query(`select where pg_try_advisory_lock(${lockClass(schema)}, 0)`)).length === 0)
        await delay(50)
      try {
        return await work()
      } finally {
        // A connection that is gone has let go of it.
        await db.query(`select pg_advisory_unlock(${lockClass(schema)}, 0)`).catch(() => {})
      }
    },
    sweep() {
      const warn = (err: unknown): void => logger.warn({ err }, 'cannot look for lost nodes; trying again')
      every(sweepMs, sweepOnce, warn)
      every(deadAfterMs, adoptOrphans, warn)
    },
    async leave() {
      leaving.abort()
      for (const timer of timers) clearInterval(timer)
      await db.query(`delete from ${schema}.nodes where id = $1`, [node]).catch(() => {})
      await db.close()
    },
  }
}

/** First half of the advisory lock's key; the second is the node's own. */
const lockClass = (schema: string): number => crc32(schema) & 0x7fffffff

/** The lock is taken in the statement that makes the row: nobody sees the one without the other. */
async function register(db: Postgres, schema: string, node: string, appVersion: string): Promise<void> {
  await db.query(
    `insert into ${schema}.nodes (id, lock_key, app_version)
     select $1, key, $2 from (select nextval('${schema}.node_keys')::int as key) as fresh
     where pg_try_advisory_lock(${lockClass(schema)}, key) on conflict (id) do nothing`,
    [node, appVersion],
  )
}

/**
 * Of other versions too: their work waits for a node of theirs, but as long as their rows are there nobody else takes what
 * they have not begun. They may beat more slowly than this one thinks, so their lock has to be free as well.
 *
 * @returns the heartbeat as text: a Date would lose its microseconds.
 */
const deadNodes = (
  db: Postgres,
  {
    schema,
    node,
    appVersion,
    deadAfterMs,
  }: { schema: string; node: string; appVersion: string; deadAfterMs: number },
): Promise<{ id: string; beat_at: string; ours: boolean }[]> =>
  db.query(
    `select id, beat_at::text, ours from ${schema}.nodes n, lateral (
       select app_version = $2 as ours, beat_at < clock_timestamp() - make_interval(secs => $3 / 1000.0) as silent, not exists (
         select from pg_locks l where l.locktype = 'advisory' and l.classid = ${lockClass(schema)}::oid and l.objid = n.lock_key::oid
           and l.objsubid = 2 and l.granted and l.database = (select oid from pg_database where datname = current_database())) as gone
     ) as seen where id <> $1 and case when ours then silent or gone else silent and gone end`,
    [node, appVersion, deadAfterMs],
  )
