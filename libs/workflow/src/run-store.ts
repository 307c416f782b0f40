import type { Postgres, Queryable } from '@docmesh/postgres'
import { steeredPayload } from './changes.ts'
import type { Dispatches } from './dispatches.ts'
import type { OnState } from './execution-store.ts'
import { jsonOf } from './json.ts'
import type { Pipeline } from './pipeline.ts'
import { hasEnded, type Priority, type Run, type RunState } from './run.ts'
import { dispatchOf, type RunRow, runOf, STEP_COLUMNS, type StepRow } from './run-rows.ts'

export interface NewRun {
  readonly id: string
  readonly pipeline: Pipeline
  readonly tenant: string
  readonly key: string | undefined
  readonly parentId: string | undefined
  readonly forkedFrom: string | undefined
  readonly priority: Priority
  readonly input: unknown
  readonly dueAt: Date | undefined
  readonly job?: NewJob
}

export interface NewJob {
  /** Higher first. */
  readonly rank: number
  readonly maxAttempts: number
  readonly requestedBy: string
  readonly cron: string | undefined
  readonly series: string | undefined
}

export interface RunFilter {
  readonly pipeline?: string
  readonly tenant?: string
  readonly parentId?: string
  /** Default: all. */
  readonly states?: readonly RunState[]
}

/** What somebody outside of an execution does to a run. Undefined leaves it as it is. */
export type Transition = (
  row: RunRow,
  steps: readonly StepRow[],
) =>
  | { readonly state: RunState; readonly outcome?: 'cancelled'; readonly redo?: ReadonlySet<string> }
  | undefined

const RANKS: Readonly<Record<Priority, number>> = { high: 10, normal: 0, low: -10 }

export type RunStore = ReturnType<typeof createRunStore>

/** Reads of runs, and the writes of those who start and steer them. */
export function createRunStore({
  db,
  schema,
  dispatches,
  channel,
  appVersion,
  pipelineOf,
  onState = () => {},
}: {
  db: Postgres
  schema: string
  dispatches: Dispatches
  channel: string
  appVersion: string
  pipelineOf: (row: Pick<RunRow, 'pipeline' | 'version'>) => Pipeline | undefined
  /** Hears of each state that somebody brought a run into, also when the transaction fails afterwards. */
  onState?: OnState
}) {
  async function withSteps(on: Queryable, rows: readonly RunRow[]): Promise<Run[]> {
    if (rows.length === 0) return []
    const steps = await on.query<StepRow>(
      `select ${STEP_COLUMNS} from ${schema}.steps where run_id = any ($1)`,
      [rows.map(({ id }) => id)],
    )
    const byRun = Map.groupBy(steps, ({ run_id }) => run_id)
    return rows.map((row) => runOf(row, byRun.get(row.id) ?? [], pipelineOf(row)))
  }

  async function find(on: Queryable, where: string, values: readonly unknown[]): Promise<Run | undefined> {
    const [run] = await withSteps(
      on,
      await on.query<RunRow>(`select * from ${schema}.runs where ${where}`, values),
    )
    return run
  }

  /** A step that failed after its effect had committed keeps the key of the effect, which was never taken back. */
  async function reset(tx: Queryable, id: string, names: readonly string[]): Promise<void> {
    await tx.query(
      `delete from ${schema}.steps where run_id = $1 and name = any ($2) and (effect is null or state not in ('failed', 'running'))`,
      [id, names],
    )
    await tx.query(
      `update ${schema}.steps set state = 'running', attempts = 1, detail = '' where run_id = $1 and name = any ($2)`,
      [id, names],
    )
  }

  return {
    get: (id: string, on: Queryable = db) => find(on, 'id = $1', [id]),

    /** Newest first. */
    async byIds(ids: readonly string[]): Promise<Run[]> {
      const rows = await db.query<RunRow>(
        `select * from ${schema}.runs where id = any ($1) order by seq desc`,
        [ids],
      )
      return withSteps(db, rows)
    },

    async list(
      filter: RunFilter,
      before: bigint | undefined,
      limit: number,
    ): Promise<{ run: Run; seq: bigint }[]> {
      const { pipeline = null, tenant = null, parentId = null, states = [] } = filter
      const rows = await db.query<RunRow>(
        `select * from ${schema}.runs where ($1::text is null or pipeline = $1) and ($2::text is null or tenant = $2)
           and ($3::text is null or parent_id = $3) and (cardinality($4::text[]) = 0 or state = any ($4))
           and ($5::bigint is null or seq < $5) order by seq desc limit $6`,
        [pipeline, tenant, parentId, states, before ?? null, limit],
      )
      const runs = await withSteps(db, rows)
      return runs.map((run, index) => ({ run, seq: (rows[index] as RunRow).seq }))
    },

    /** The run of this id or key, and whether it was there before. */
    async insert(
      tx: Queryable,
      run: NewRun,
      copy?: ReadonlySet<string>,
    ): Promise<{ run: Run; existed: boolean }> {
      const {
        id,
        pipeline,
        tenant,
        key = null,
        parentId = null,
        forkedFrom = null,
        priority,
        input,
        dueAt,
        job,
      } = run
      const [row] = await tx.query<RunRow>(
        `insert into ${schema}.runs (id, pipeline, version, tenant, key, parent_id, forked_from, queue, priority, app_version, state, input, due_at,
           scheduled_for, rank, max_attempts, requested_by, cron, series)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', $11::jsonb, $12, $12, $13, $14, $15, $16, $17)
         on conflict do nothing returning *`,
        [
          id,
          pipeline.name,
          pipeline.version,
          tenant,
          key,
          parentId,
          forkedFrom,
          pipeline.queue,
          priority,
          appVersion,
          jsonOf(input),
          dueAt ?? null,
          job?.rank ?? RANKS[priority],
          job?.maxAttempts ?? null,
          job?.requestedBy ?? null,
          job?.cron ?? null,
          job?.series ?? null,
        ],
      )
      if (!row) {
        const first = await find(tx, 'id = $1 or (pipeline = $2 and tenant = $3 and key = $4)', [
          id,
          pipeline.name,
          tenant,
          key,
        ])
        if (!first) throw new Error(`run ${id} was deleted while it was started again`)
        return { run: first, existed: true }
      }
      if (copy?.size)
        await tx.query(
          `insert into ${schema}.steps (run_id, name, pipeline, state, attempts, detail, output, effect, started_at, ended_at)
           select $1, name, pipeline, state, attempts, detail, output, effect, started_at, ended_at from ${schema}.steps
           where run_id = $2 and name = any ($3) and state in ('completed', 'skipped')`,
          [id, forkedFrom, [...copy]],
        )
      await dispatches.enqueue(tx, dispatchOf(row, dueAt))
      const [created = runOf(row, [], pipeline)] = copy?.size ? await withSteps(tx, [row]) : []
      await pipeline.onChange?.(tx, created, undefined)
      onState(row.pipeline, row.state)
      return { run: created, existed: false }
    },

    /** Undefined for an unknown id. Whoever executes the run is shut out before this commits. */
    async transition(
      tx: Queryable,
      id: string,
      decide: Transition,
    ): Promise<{ run: Run; changed: boolean } | undefined> {
      const [before] = await tx.query<RunRow>(
        `select * from ${schema}.runs where id = $1 for no key update`,
        [id],
      )
      if (!before) return undefined
      const steps = await tx.query<StepRow>(`select ${STEP_COLUMNS} from ${schema}.steps where run_id = $1`, [
        id,
      ])
      const next = decide(before, steps)
      if (!next) return { run: runOf(before, steps, pipelineOf(before)), changed: false }
      const { state, outcome = null, redo } = next
      const open = state === 'queued' || state === 'compensating'
      await dispatches.withdraw(tx, { runId: id, number: before.dispatch })
      const [row] = await tx.query<RunRow>(
        `update ${schema}.runs set state = $2, outcome = case when $5 then null else coalesce($3, outcome) end, owner = null, dispatch = dispatch + 1, begun = 0,
           due_at = null, updated_at = clock_timestamp(), ended_at = case when $4 then clock_timestamp() end,
           failure = case when $5 then null else failure end, progress = case when $5 then 0 else progress end,
           cron = case when $5 then null else cron end, series = case when $5 then null else series end
         where id = $1 returning *, pg_notify($6, $7)`,
        [id, state, outcome, hasEnded({ state }), redo !== undefined, channel, steeredPayload(id)],
      )
      if (!row) throw new Error(`run ${id} vanished`)
      if (redo) await reset(tx, id, [...redo])
      if (open) await dispatches.enqueue(tx, dispatchOf(row))
      const [run] = await withSteps(tx, [row])
      await pipelineOf(row)?.onChange?.(tx, run as Run, before.state)
      onState(row.pipeline, row.state)
      return { run: run as Run, changed: true }
    },

    /** What a run has returned so far, by step. */
    async outputs(id: string): Promise<Record<string, unknown>> {
      const rows = await db.query<{ name: string; output: unknown }>(
        `select name, output from ${schema}.steps where run_id = $1 and state = 'completed'`,
        [id],
      )
      return Object.fromEntries(rows.map(({ name, output }) => [name, output]))
    },

    /** Median duration of each step over its fifty latest runs, in milliseconds. */
    async medians(pipeline: Pipeline): Promise<ReadonlyMap<string, number>> {
      const rows = await db.query<{ name: string; ms: number }>(
        `select n.name, percentile_cont(0.5) within group (order by extract(epoch from s.ended_at - s.started_at) * 1000) as ms
         from unnest($2::text[]) as n (name), lateral (
           select started_at, ended_at from ${schema}.steps where pipeline = $1 and name = n.name and state = 'completed'
             and started_at is not null and ended_at is not null order by ended_at desc limit 50) s
         group by n.name`,
        [pipeline.name, pipeline.steps.map(({ name }) => name)],
      )
      return new Map(rows.map(({ name, ms }) => [name, Number(ms)]))
    },

    async stats() {
      const counts = await db.query<{ pipeline: string; state: RunState; count: bigint }>(
        `select pipeline, state, count(*) as count from ${schema}.runs group by 1, 2`,
      )
      const [ages] = await db.query<{ waiting_ms: number; stranded: bigint; recent: bigint }>(
        `select coalesce(extract(epoch from clock_timestamp() - min(coalesce(due_at, created_at))
             filter (where state = 'queued' and coalesce(due_at, created_at) <= clock_timestamp())) * 1000, 0)::float8 as waiting_ms,
           count(*) filter (where state in ('queued', 'running', 'compensating') and app_version <> $1
             and app_version not in (select app_version from ${schema}.nodes)) as stranded,
           count(*) filter (where state = 'completed' and ended_at > clock_timestamp() - interval '1 minute') as recent
         from ${schema}.runs where ended_at is null or ended_at > clock_timestamp() - interval '1 minute'`,
        [appVersion],
      )
      return {
        runs: counts.map(({ pipeline, state, count }) => ({ pipeline, state, count: Number(count) })),
        oldestWaitingMs: Math.max(0, Number(ages?.waiting_ms ?? 0)),
        completedPerMinute: Number(ages?.recent ?? 0),
        /** Open runs of versions that no node runs any more. */
        stranded: Number(ages?.stranded ?? 0),
      }
    },
  }
}
