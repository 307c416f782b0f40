import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Dispatch, Dispatches } from './dispatches.ts'
import { jsonOf } from './json.ts'
import type { Pipeline } from './pipeline.ts'
import { readySteps } from './plan.ts'
import { type Failure, hasEnded, type RunState, type StepState } from './run.ts'
import { dispatchOf, type RunRow, runOf, STEP_COLUMNS, type StepRow } from './run-rows.ts'

/** Another execution has the run now, or somebody stopped it: nothing was written and nothing more may be. */
export class OwnershipLost extends Error {
  override readonly name = 'OwnershipLost'

  constructor(runId: string) {
    super(`run ${runId} is no longer ours`)
  }
}

/** What one execution holds: the run as of its last write, and the claim that lets it write. */
export interface Hold {
  readonly claim: string
  readonly pipeline: Pipeline
  run: RunRow
}

export interface StepChange {
  readonly name: string
  readonly state: Exclude<StepState, 'pending'>
  readonly attempts?: number
  readonly detail?: string
  /** JSON text. */
  readonly output?: string
}

/** `attempts` names the one to come, `detail` what the last one met. */
export type ParkedStep = StepChange & { readonly attempts: number; readonly detail: string }

export interface RunChange {
  readonly state?: RunState
  readonly outcome?: 'failed' | 'cancelled'
  readonly progress?: number
  readonly failure?: Failure
  readonly steps?: readonly StepChange[]
}

export type OnState = (pipeline: string, state: RunState) => void

/** With what it returned. */
export type DoneStep = StepRow & { readonly output: unknown }

export type ExecutionStore = ReturnType<typeof createExecutionStore>

/** The writes of executions. Each is fenced: it happens only while the run's row names the claim of the execution. */
export function createExecutionStore({
  db,
  schema,
  dispatches,
  channel,
  idleInTransactionMs,
  onState = () => {},
}: {
  db: Postgres
  schema: string
  dispatches: Dispatches
  channel: string
  /** The server ends a transaction that locks a run and says nothing for so long. */
  idleInTransactionMs: number
  /** Hears of each state that an execution brought a run into. */
  onState?: OnState
}) {
  const stepsOf = <Row = StepRow>(on: Queryable, id: string, columns = STEP_COLUMNS): Promise<Row[]> =>
    on.query<Row>(`select ${columns} from ${schema}.steps where run_id = $1`, [id])

  /** Goes with every lock: a frozen node must hold up neither its successor nor those who look for one. */
  const unlessSilent = `set_config('idle_in_transaction_session_timeout', '${idleInTransactionMs}', true)`

  async function write(on: Queryable, { run, claim }: Hold, change: RunChange): Promise<RunRow | undefined> {
    const { state = run.state, outcome = run.outcome, failure = run.failure, steps = [] } = change
    const ended = hasEnded({ state })
    const [row] = await on.query<RunRow>(
      `with changed as (
         update ${schema}.runs set state = $4, outcome = $5, progress = greatest(progress, $6), failure = $7::jsonb,
           revision = revision + 1, updated_at = clock_timestamp(),
           owner = case when $8 then null else owner end, ended_at = case when $8 then clock_timestamp() end
         where id = $1 and owner = $2 and revision = $3 returning *
       ), stepped as (
         insert into ${schema}.steps as old (run_id, pipeline, name, state, attempts, detail, output, started_at, ended_at)
         select changed.id, changed.pipeline, s.name, s.state, coalesce(s.attempts, 1), coalesce(s.detail, ''), s.output,
           clock_timestamp(), case when s.state <> 'running' then clock_timestamp() end
         from changed, jsonb_to_recordset($9::jsonb) as s (name text, state text, attempts int, detail text, output jsonb)
         on conflict (run_id, name) do update set state = excluded.state, attempts = excluded.attempts,
           detail = excluded.detail, output = coalesce(excluded.output, old.output),
           started_at = case when old.state in ('running', 'completed') then old.started_at else excluded.started_at end,
           ended_at = case when old.state = excluded.state then old.ended_at else excluded.ended_at end
       )${ended ? `, dispatched as (${dispatches.ended({ run: 'changed', claim: '$2' })})` : ''}
       select *, pg_notify($10, id), ${unlessSilent} from changed`,
      [
        run.id,
        claim,
        run.revision,
        state,
        outcome,
        change.progress ?? 0,
        failure ? JSON.stringify(failure) : null,
        ended,
        `[${steps.map(stepJson).join()}]`,
        channel,
      ],
    )
    return row
  }

  return {
    /** Makes the claim of the engine the owner of the run. Undefined: it is not to be run by this claim. */
    async begin(
      dispatch: Dispatch,
      claim: string,
      pipelineOf: (row: RunRow) => Pipeline | undefined,
      maxBegun: number,
    ): Promise<{ hold: Hold; steps: DoneStep[] } | undefined> {
      return db.transaction(async (tx) => {
        // The run is locked before its dispatch, as by those who take it away; a lock shows what was committed last.
        const [before] = await tx.query<RunRow>(
          `with run as (
             select * from ${schema}.runs where id = $1 and dispatch = $2 and state in ('queued', 'running', 'compensating')
             for no key update
           ), held as (
             ${dispatches.heldBy({ dispatch: "(select id || ':' || dispatch from run)", claim: '$3' })}
           ) select run.*, ${unlessSilent} from run, held`,
          [dispatch.runId, dispatch.number, claim],
        )
        if (!before) return undefined
        const pipeline = pipelineOf(before)
        if (!pipeline) throw new Error(`no pipeline ${before.pipeline} ${before.version} on this node`)
        const spent = before.begun >= maxBegun
        const failure = spent && {
          step: '',
          reason: 'TOO_MANY_RECOVERIES',
          message: `${maxBegun} nodes began it and were lost.`,
        }
        const isNew = before.dispatch === 1 && before.begun === 0 && before.forked_from === null
        const first = isNew && isQuiet(pipeline) ? readySteps(pipeline.steps, new Set(), new Set()) : []
        const [run] = await tx.query<RunRow>(
          `with begun as (
             update ${schema}.runs set owner = $2, state = $3, failure = coalesce($4::jsonb, failure), begun = begun + 1,
               due_at = null, revision = revision + 1, started_at = coalesce(started_at, clock_timestamp()),
               updated_at = clock_timestamp(), ended_at = case when $2::text is null then clock_timestamp() end
             where id = $1 returning *
           ), started as (
             insert into ${schema}.steps (run_id, pipeline, name, state, attempts, started_at)
             select id, pipeline, name, 'running', 1, started_at from begun, unnest($6::text[]) as name
           ) select *, pg_notify($5, id) from begun`,
          [
            before.id,
            spent ? null : claim,
            spent ? 'dead' : before.state === 'compensating' ? 'compensating' : 'running',
            failure ? JSON.stringify(failure) : null,
            channel,
            first.map(({ name }) => name),
          ],
        )
        if (!run) throw new Error(`run ${before.id} vanished`)
        const steps = isNew
          ? first.map(({ name }) => startedStep(run, name))
          : await stepsOf<DoneStep>(tx, run.id, `${STEP_COLUMNS}, output`)
        if (run.state !== before.state) {
          await pipeline.onChange?.(tx, runOf(run, steps, pipeline), before.state)
          onState(run.pipeline, run.state)
        }
        return spent ? undefined : { hold: { claim, pipeline, run }, steps }
      })
    },

    /** The claim that may write each of these runs. */
    async owners(ids: readonly string[]): Promise<ReadonlyMap<string, string | null>> {
      const rows = await db.query<RunRow>(`select id, owner from ${schema}.runs where id = any ($1)`, [ids])
      return new Map(rows.map(({ id, owner }) => [id, owner]))
    },

    /** Throws OwnershipLost. Repeating it after a commit whose answer was lost changes nothing more. */
    async advance(hold: Hold, change: RunChange): Promise<void> {
      const quiet = isQuiet(hold.pipeline) && change.state === undefined
      const onChange = quiet ? undefined : hold.pipeline.onChange
      const writeAndTell = (): Promise<RunRow | undefined> =>
        db.transaction(async (tx) => {
          const row = await write(tx, hold, change)
          if (row && onChange)
            await onChange(tx, runOf(row, await stepsOf(tx, row.id), hold.pipeline), hold.run.state)
          return row
        })
      const row = (await (onChange ? writeAndTell() : write(db, hold, change))) ?? (await written(hold))
      if (!row) throw new OwnershipLost(hold.run.id)
      if (row.state !== hold.run.state) onState(row.pipeline, row.state)
      hold.run = row
    },

    /** Ends the execution and queues the run again for later. */
    async park(hold: Hold, dueAt: Date, steps: readonly ParkedStep[]): Promise<void> {
      await db.transaction(async (tx) => {
        const row = await write(tx, hold, { steps })
        if (!row) throw new OwnershipLost(hold.run.id)
        const [parked] = await tx.query<RunRow>(
          `update ${schema}.runs set dispatch = dispatch + 1, owner = null, due_at = $2, begun = 0,
             state = case when state = 'running' then 'queued' else state end where id = $1 returning *`,
          [row.id, dueAt],
        )
        if (!parked) throw new Error(`run ${row.id} vanished`)
        await dispatches.enqueue(tx, dispatchOf(parked, dueAt))
        const { onRetry } = hold.pipeline
        if (!onRetry) return
        const run = runOf(parked, await stepsOf(tx, row.id), hold.pipeline)
        for (const { name, attempts, detail } of steps)
          await onRetry(tx, run, { step: name, attempt: attempts - 1, error: detail })
      })
    },

    /** Runs `effect` unless it has committed before; see StepContext.transaction. */
    async effect<T>(
      { run, claim }: Hold,
      step: string,
      kind: 'effect' | 'undo_effect',
      effect: (tx: Queryable) => Promise<T>,
      signal: AbortSignal,
    ): Promise<T> {
      return db.transaction(async (tx) => {
        const [row] = await tx.query<RunRow>(
          `select owner, ${unlessSilent} from ${schema}.runs where id = $1 for no key update`,
          [run.id],
        )
        if (row?.owner !== claim) throw new OwnershipLost(run.id)
        const [done] = await tx.query<{ value: T }>(
          `select ${kind}->'value' as value from ${schema}.steps where run_id = $1 and name = $2 and ${kind} is not null`,
          [run.id, step],
        )
        if (done) return done.value
        const value = `{"value":${jsonOf(await effect(tx))}}`
        signal.throwIfAborted()
        const [saved] = await tx.query<{ value: T }>(
          `insert into ${schema}.steps (run_id, pipeline, name, state, ${kind}, started_at) values ($1, $2, $3, 'running', $4::jsonb, clock_timestamp())
           on conflict (run_id, name) do update set ${kind} = excluded.${kind} returning ${kind}->'value' as value`,
          [run.id, run.pipeline, step, value],
        )
        return saved?.value as T
      })
    },
  }

  /** The row, when this very change was committed before and only the answer was lost. */
  async function written({ run, claim }: Hold): Promise<RunRow | undefined> {
    const [row] = await db.query<RunRow>(
      `select * from ${schema}.runs where id = $1 and owner = $2 and revision = $3`,
      [run.id, claim, run.revision + 1],
    )
    return row
  }
}

/** Nobody asks what a job does between its start and its end. */
const isQuiet = ({ job, onChange }: Pipeline): boolean => job || !onChange

const startedStep = ({ id, started_at }: RunRow, name: string): DoneStep => ({
  run_id: id,
  name,
  state: 'running',
  attempts: 1,
  detail: '',
  affected: false,
  started_at,
  ended_at: null,
  output: null,
})

const stepJson = ({ output, ...change }: StepChange): string =>
  output === undefined ? JSON.stringify(change) : `${JSON.stringify(change).slice(0, -1)},"output":${output}}`
