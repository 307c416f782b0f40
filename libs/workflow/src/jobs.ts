import type { Postgres, Queryable } from '@docmesh/postgres'
import { checkRange } from '@docmesh/resilience'
import { invalidRequest } from '@docmesh/rpc'
import { nextTime } from './cron.ts'
import { type EnqueueOptions, type Job, type Jobs, type JobType, MAX_ATTEMPTS } from './job.ts'
import { attemptOf, jobOf, type RunHooks } from './job-pipeline.ts'
import type { JobStore } from './job-store.ts'
import { jsonOf } from './json.ts'
import type { WorkflowsOptions } from './options.ts'
import type { Pipeline } from './pipeline.ts'
import { hasEnded, type Run } from './run.ts'
import type { RunStore } from './run-store.ts'
import * as steering from './steering.ts'

const MAX_INPUT_CHARS = 64 * 1024
const MAX_PRIORITY = 1_000_000
const MAX_DELAY_MS = 366 * 24 * 60 * 60 * 1_000

export interface JobsOptions {
  readonly db: Postgres
  readonly types: readonly JobType[]
  readonly runs: RunStore
  readonly store: JobStore
  readonly pipelineOf: (run: Pick<Run, 'pipeline' | 'version'>) => Pipeline | undefined
  /** That this node serves. */
  readonly queues: readonly string[]
  readonly onJob: WorkflowsOptions['onJob']
  readonly clock: () => Date
  readonly ids: () => string
}

/** Jobs, and what has to happen in the transaction of each of their changes. */
export function createJobs({ db, types, runs, store, pipelineOf, queues, onJob, clock, ids }: JobsOptions): {
  jobs: Jobs
  hooks: RunHooks
} {
  const byType = new Map(types.map((type) => [type.type, type]))
  const known = [...byType.keys()].sort()
  const within = <T>(tx: Queryable | undefined, work: (tx: Queryable) => Promise<T>): Promise<T> =>
    tx ? work(tx) : db.transaction(work)

  function shownAs(run: Run): Job {
    const job = jobOf(run, clock())
    if (!job) throw new Error(`run ${run.id} is no job`)
    return job
  }

  async function tell(tx: Queryable, run: Run, before: Run['state'] | undefined): Promise<void> {
    const job = jobOf(run, clock())
    // A fork of a job is a run like others.
    if (!job || !onJob || run.state === before) return
    if (run.state === 'queued') {
      const waiting = await store.waiting(tx, queueOf(run))
      await onJob(tx, job, { kind: 'queued', waiting })
    } else if (run.state === 'running') await onJob(tx, job, { kind: 'started', attempt: attemptOf(run) })
    else if (run.state === 'completed') {
      const durationMs = (run.endedAt?.getTime() ?? 0) - (run.startedAt?.getTime() ?? 0)
      await onJob(tx, job, { kind: 'completed', durationMs })
    } else if (run.state === 'dead')
      await onJob(tx, job, { kind: 'failed', attempts: job.attempts, error: job.lastError })
  }

  const queueOf = (run: Run): string => pipelineOf(run)?.queue ?? ''

  /** The next run of a schedule. What was missed is not made up for: the run that ends here was the one late. */
  async function succeed(tx: Queryable, { job, ...run }: Run): Promise<void> {
    const pipeline = pipelineOf(run)
    if (!pipeline || !job?.cron) return
    const { cron, series, priority: rank, maxAttempts, requestedBy, scheduledFor } = job
    const dueAt = nextTime(cron, new Date(Math.max(clock().getTime(), scheduledFor.getTime())))
    await runs.insert(tx, {
      id: ids(),
      pipeline,
      tenant: run.tenant,
      key: undefined,
      parentId: undefined,
      forkedFrom: undefined,
      priority: run.priority,
      input: run.input,
      dueAt,
      job: { rank, maxAttempts, requestedBy, cron, series },
    })
  }

  const hooks: RunHooks = {
    async onChange(tx, run, before) {
      await tell(tx, run, before)
      if (hasEnded(run) && run.state !== 'cancelled') await succeed(tx, run)
    },
    async onRetry(tx, run, { attempt, error }) {
      const job = jobOf(run, clock())
      const delayMs = Math.max(0, (run.dueAt?.getTime() ?? 0) - Date.now())
      if (job) await onJob?.(tx, job, { kind: 'retrying', attempt, delayMs, error })
    },
  }

  async function enqueue(
    type: string,
    input: unknown,
    {
      id = ids(),
      idempotencyKey: key,
      tenant = '',
      requestedBy = '',
      priority: rank = 0,
      delayMs = 0,
      cron,
      maxAttempts,
      tx,
    }: EnqueueOptions = {},
  ): Promise<{ job: Job; existed: boolean }> {
    const found = byType.get(type)
    const pipeline = found && pipelineOf({ pipeline: type, version: found.version })
    if (!found || !pipeline) {
      const description = `"${type}" is not known; write one of ${known.join(', ') || '(none)'}`
      throw invalidRequest([{ field: 'type', description }])
    }
    checkField('priority', rank, -MAX_PRIORITY, MAX_PRIORITY)
    checkField('delay', delayMs, 0, MAX_DELAY_MS)
    checkField('max_attempts', maxAttempts ?? 1, 1, MAX_ATTEMPTS)
    checkInput(input)
    found.check(input)
    const earliest = new Date(clock().getTime() + delayMs)
    const dueAt = cron ? firstTime(cron, earliest) : delayMs > 0 ? earliest : undefined
    const { run, existed } = await within(tx, (on) =>
      runs.insert(on, {
        id,
        pipeline,
        tenant,
        key,
        parentId: undefined,
        forkedFrom: undefined,
        priority: rank > 0 ? 'high' : rank < 0 ? 'low' : 'normal',
        input,
        dueAt,
        job: {
          rank,
          maxAttempts: maxAttempts ?? found.maxAttempts,
          requestedBy,
          cron,
          series: cron && id,
        },
      }),
    )
    return { job: shownAs(run), existed }
  }

  const isJob = async (on: Queryable, id: string): Promise<boolean> =>
    (await runs.get(id, on))?.job !== undefined

  const jobs: Jobs = {
    types: known,
    enqueue,
    async get(id) {
      const run = await runs.get(id)
      return run && jobOf(run, clock())
    },
    async list(filter, { limit = 50, before } = {}) {
      checkRange({ limit }, 1, 1_000, { whole: true })
      const found = await store.list(filter, before === undefined ? undefined : BigInt(before), limit + 1)
      const page = found.slice(0, limit)
      const shown = await runs.byIds(page.map(({ id }) => id))
      return {
        jobs: shown.map(shownAs),
        next: found.length > limit ? String(page.at(-1)?.seq) : undefined,
      }
    },
    cancel: (id, tx) =>
      within(tx, async (on) => {
        if (!(await isJob(on, id))) return undefined
        const cancel = (each: string) =>
          runs.transition(on, each, (row, steps) => steering.cancel(pipelineOf(row))(row, steps))
        let last = await cancel(id)
        const series = last?.run.job?.series
        // A run that ends while we come makes its successor first: then that one is to be cancelled.
        while (series && last && !last.changed) {
          const newest = await store.newestOf(on, series)
          if (!newest || newest === last.run.id) break
          last = await cancel(newest)
        }
        return last && { job: shownAs(last.run), changed: last.changed }
      }),
    retry: (id, { idempotencyKey, tx } = {}) =>
      within(tx, async (on) => {
        const run = await runs.get(id, on)
        if (!run?.job) return undefined
        if (idempotencyKey && (await store.lockOrderKey(on, id)) === idempotencyKey)
          return { job: shownAs((await runs.get(id, on)) ?? run), changed: true }
        const done = await runs.transition(on, id, (row, steps) =>
          steering.redrive(pipelineOf(row))(row, steps),
        )
        if (done?.changed && idempotencyKey) await store.keepOrderKey(on, id, idempotencyKey)
        return done && { job: shownAs(done.run), changed: done.changed }
      }),
    async stats() {
      const found = new Map((await store.queues()).map((stats) => [stats.queue, stats]))
      return [...new Set([...queues, ...found.keys()])].sort().map((queue) => found.get(queue) ?? idle(queue))
    },
  }
  return { jobs, hooks }
}

const idle = (queue: string) => ({ queue, queued: 0, running: 0, completed: 0, dead: 0, oldestWaitMs: 0 })

function checkField(field: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw invalidRequest([{ field, description: `write a whole number from ${min} to ${max}` }])
}

function checkInput(input: unknown): void {
  try {
    if (jsonOf(input).length <= MAX_INPUT_CHARS) return
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw invalidRequest([{ field: 'input', description: error.message }])
  }
  throw invalidRequest([{ field: 'input', description: `at most ${MAX_INPUT_CHARS} characters of JSON` }])
}

function firstTime(cron: string, after: Date): Date {
  try {
    return nextTime(cron, after)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw invalidRequest([{ field: 'cron', description: error.message }])
  }
}
