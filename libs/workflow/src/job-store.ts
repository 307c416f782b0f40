import type { Postgres, Queryable } from '@docmesh/postgres'
import type { JobFilter, QueueStats } from './job.ts'

export type JobStore = ReturnType<typeof createJobStore>

const MOST_COUNTED = 1_000

/** What is asked of jobs and queues beside what is asked of every run. */
export function createJobStore({ db, schema }: { db: Postgres; schema: string }) {
  /** The state that a job shows; the same as `jobOf` says. */
  const shown = `case when state not in ('queued', 'paused') then state
    when exists (select from ${schema}.steps s where s.run_id = runs.id and s.attempts > 1) then 'retrying'
    when due_at > clock_timestamp() then 'scheduled' else 'queued' end`

  return {
    /** Ids, newest first. */
    async list(
      filter: JobFilter,
      before: bigint | undefined,
      limit: number,
    ): Promise<{ id: string; seq: bigint }[]> {
      const { tenant = null, type = null, states = [] } = filter
      return db.query(
        `select id, seq from ${schema}.runs where max_attempts is not null
           and ($1::text is null or tenant = $1) and ($2::text is null or pipeline = $2)
           and (cardinality($3::text[]) = 0 or ${shown} = any ($3)) and ($4::bigint is null or seq < $4)
         order by seq desc limit $5`,
        [tenant, type, states, before ?? null, limit],
      )
    },

    /** The newest run of a schedule: if any of them has not ended, it is this one. */
    async newestOf(tx: Queryable, series: string): Promise<string | undefined> {
      const [row] = await tx.query<{ id: string }>(
        `select id from ${schema}.runs where series = $1 order by seq desc limit 1`,
        [series],
      )
      return row?.id
    },

    /** Nobody changes the job until the transaction ends. */
    async lockOrderKey(tx: Queryable, id: string): Promise<string | undefined> {
      const [row] = await tx.query<{ order_key: string | null }>(
        `select order_key from ${schema}.runs where id = $1 for no key update`,
        [id],
      )
      return row?.order_key ?? undefined
    },

    async keepOrderKey(tx: Queryable, id: string, key: string): Promise<void> {
      await tx.query(`update ${schema}.runs set order_key = $2 where id = $1`, [id, key])
    },

    /** Runs that could begin now, or will; at most 1 000, so that a long queue costs those who join it little. */
    async waiting(tx: Queryable, queue: string): Promise<number> {
      const [row] = await tx.query<{ count: number }>(
        `select count(*)::int from (select from ${schema}.runs where state = 'queued' and queue = $1 limit ${MOST_COUNTED}) as waiting`,
        [queue],
      )
      return row?.count ?? 0
    },

    async queues(): Promise<QueueStats[]> {
      return db.query<QueueStats>(
        `with counts as (
           select queue,
             count(*) filter (where state = 'queued' and coalesce(due_at, created_at) <= clock_timestamp()) as queued,
             count(*) filter (where state in ('running', 'compensating')) as running,
             min(coalesce(due_at, created_at)) filter (where state = 'queued') as oldest, 0 as completed, 0 as dead
           from ${schema}.runs where state in ('queued', 'running', 'compensating') group by queue
           union all select queue, 0, 0, null, count(*), 0 from ${schema}.runs
             where state = 'completed' and ended_at > clock_timestamp() - interval '1 hour' group by queue
           union all select queue, 0, 0, null, 0, count(*) from ${schema}.runs where state = 'dead' group by queue)
         select queue, sum(queued)::int as queued, sum(running)::int as running, sum(completed)::int as completed,
           sum(dead)::int as dead,
           greatest(0, coalesce(extract(epoch from clock_timestamp() - min(oldest)) * 1000, 0))::float8 as "oldestWaitMs"
         from counts group by queue`,
      )
    },

    /** Runs that could begin now, by queue; empty ones are left out. */
    async depths(): Promise<{ queue: string; count: number }[]> {
      return db.query(
        `select queue, count(*)::int from ${schema}.runs
         where state = 'queued' and coalesce(due_at, created_at) <= clock_timestamp() group by queue`,
      )
    },

    async deadLetters(): Promise<{ pipeline: string; count: number }[]> {
      return db.query(
        `select pipeline, count(*)::int from ${schema}.runs where state = 'dead' group by pipeline`,
      )
    },
  }
}
