import type { Enqueue } from './dispatches.ts'
import type { Pipeline } from './pipeline.ts'
import type { Failure, JobPart, Priority, Run, RunState, RunStep, StepState } from './run.ts'

export interface RunRow {
  id: string
  seq: bigint
  pipeline: string
  version: string
  tenant: string
  parent_id: string | null
  forked_from: string | null
  queue: string
  priority: Priority
  app_version: string
  state: RunState
  outcome: 'failed' | 'cancelled' | null
  input: unknown
  progress: number
  failure: Failure | null
  dispatch: number
  owner: string | null
  begun: number
  revision: number
  due_at: Date | null
  created_at: Date
  started_at: Date | null
  ended_at: Date | null
  rank: number
  max_attempts: number | null
  requested_by: string | null
  scheduled_for: Date | null
  cron: string | null
  series: string | null
}

export interface StepRow {
  run_id: string
  name: string
  state: Exclude<StepState, 'pending'>
  attempts: number
  detail: string
  /** Its transaction has committed. */
  affected: boolean
  started_at: Date | null
  ended_at: Date | null
}

export const STEP_COLUMNS =
  'run_id, name, state, attempts, detail, effect is not null as affected, started_at, ended_at'

export const dispatchOf = (row: RunRow, dueAt?: Date): Enqueue => ({
  runId: row.id,
  number: row.dispatch,
  queue: row.queue,
  tenant: row.tenant,
  rank: row.rank,
  appVersion: row.app_version,
  dueAt,
})

const stepOf = ({ name, state, attempts, detail, started_at, ended_at }: StepRow): RunStep => ({
  name,
  state,
  attempts,
  detail,
  startedAt: started_at ?? undefined,
  endedAt: ended_at ?? undefined,
})

const pendingStep = (name: string): RunStep => ({
  name,
  state: 'pending',
  attempts: 0,
  detail: '',
  startedAt: undefined,
  endedAt: undefined,
})

/** Steps in the order of the pipeline; of one that this node does not know, those that have begun. */
export function runOf(row: RunRow, steps: readonly StepRow[], pipeline: Pipeline | undefined): Run {
  const byName = new Map(steps.map((step) => [step.name, stepOf(step)]))
  return {
    id: row.id,
    pipeline: row.pipeline,
    version: row.version,
    tenant: row.tenant,
    parentId: row.parent_id ?? undefined,
    forkedFrom: row.forked_from ?? undefined,
    priority: row.priority,
    state: row.state,
    input: row.input,
    progress: row.progress,
    failure: row.failure ?? undefined,
    steps: pipeline
      ? pipeline.steps.map(({ name }) => byName.get(name) ?? pendingStep(name))
      : [...byName.values()],
    begun: row.begun,
    dueAt: (row.state === 'queued' && row.due_at) || undefined,
    createdAt: row.created_at,
    startedAt: row.started_at ?? undefined,
    endedAt: row.ended_at ?? undefined,
    job: row.max_attempts === null ? undefined : jobPart(row, row.max_attempts),
  }
}

const jobPart = (row: RunRow, maxAttempts: number): JobPart => ({
  priority: row.rank,
  maxAttempts,
  requestedBy: row.requested_by ?? '',
  scheduledFor: row.due_at ?? row.scheduled_for ?? row.created_at,
  cron: row.cron ?? '',
  series: row.series ?? undefined,
})
