import type { Job, JobState, JobType } from './job.ts'
import { definePipeline, type Pipeline, type PipelineDefinition } from './pipeline.ts'
import type { Run, RunState } from './run.ts'

export type RunHooks = Required<Pick<PipelineDefinition<unknown, unknown>, 'onChange' | 'onRetry'>>

/** A job is a run of a pipeline of one step. */
export function jobPipeline(
  { type, version, queue, timeoutMs, maxAttempts, retry, check, run }: JobType,
  hooks: RunHooks,
): Pipeline {
  const pipeline = definePipeline<unknown, { run: unknown }>({
    name: 'job',
    version,
    queue,
    ...hooks,
    steps: [
      {
        name: 'run',
        timeoutMs,
        retry: { attempts: maxAttempts, on: retry },
        async run({ runId, tenant, requestedBy, input, attempt, signal, idempotencyKey, transaction }) {
          const checked = check(input)
          const job = { jobId: runId, tenant, requestedBy, input: checked, attempt, signal }
          return run({ ...job, idempotencyKey, transaction })
        },
      },
    ],
  })
  return { ...pipeline, name: type, job: true }
}

/** Failed attempts and the one under way, from 1. */
export const attemptOf = ({ steps: [step] }: Run): number => Math.max(1, step?.attempts ?? 0)

/** Undefined for a run that is no job. */
export function jobOf(run: Run, now: Date): Job | undefined {
  const { id, tenant, input, job, createdAt, endedAt, failure } = run
  if (!job) return undefined
  const [step] = run.steps
  const waits = run.state === 'queued' || run.state === 'paused'
  // Of a job that waits, the attempt that it names is the one to come.
  const attempts = waits ? attemptOf(run) - 1 : (step?.attempts ?? 0)
  return {
    id,
    type: run.pipeline,
    tenant,
    requestedBy: job.requestedBy,
    input,
    priority: job.priority,
    state: waits ? waitingState(attempts, run.dueAt, now) : STATES[run.state],
    attempts,
    maxAttempts: job.maxAttempts,
    lastError: run.state === 'completed' ? '' : (failure?.message ?? step?.detail ?? ''),
    scheduledFor: job.scheduledFor,
    cron: job.cron,
    createdAt,
    endedAt,
  }
}

const waitingState = (attempts: number, dueAt: Date | undefined, now: Date): JobState => {
  if (attempts > 0) return 'retrying'
  return dueAt && dueAt > now ? 'scheduled' : 'queued'
}

/** A job has nothing to take back, so it never compensates, and it ends dead instead of failed. */
const STATES: Readonly<Record<Exclude<RunState, 'queued' | 'paused'>, JobState>> = {
  running: 'running',
  compensating: 'running',
  completed: 'completed',
  failed: 'dead',
  dead: 'dead',
  cancelled: 'cancelled',
}
