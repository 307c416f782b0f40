import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { migrate, type Queryable } from '@docmesh/postgres'
import { checkRange } from '@docmesh/resilience'
import { type Changes, openChanges } from './changes.ts'
import { createDispatches } from './dispatches.ts'
import { launchEngine, type QueueOptions } from './engine.ts'
import { createExecutionStore } from './execution-store.ts'
import { jobPipeline } from './job-pipeline.ts'
import { createJobStore } from './job-store.ts'
import { createJobs } from './jobs.ts'
import { observeWorkflows } from './observe.ts'
import type { StartOptions, Steered, Workflows, WorkflowsOptions } from './options.ts'
import type { Pipeline } from './pipeline.ts'
import { joinNodes, type Presence } from './presence.ts'
import { retryDelay } from './retry-class.ts'
import type { Run } from './run.ts'
import { createRunStore, type RunStore } from './run-store.ts'
import { createRunUpkeep } from './run-upkeep.ts'
import { createRunner } from './runner.ts'
import * as steering from './steering.ts'
import { watchRun } from './watch.ts'

const PRUNE_MS = 60 * 60 * 1_000
/** An idempotency key of the engine that nobody asks for any more. */
const ENGINE_RETENTION_MS = 60 * 60 * 1_000
const JOB_QUEUE: QueueOptions = { concurrency: 8, perTenant: 4 }
const MEDIANS_FOR_MS = 10_000
const CLOSE_MS = 2_000

/** Joins the nodes that run these pipelines on this database. One per process. */
export async function createWorkflows({
  db,
  pipelines,
  applicationVersion,
  logger,
  jobs: jobTypes = [],
  onJob,
  metrics,
  queues = {},
  schedules = [],
  enginePoolMax = 4,
  maxRecoveryAttempts = 10,
  heartbeatMs = 1_000,
  deadAfterMs = 5_000,
  sweepMs = 250,
  retentionMs = 30 * 24 * 60 * 60 * 1_000,
  clock = () => new Date(),
  ids = randomUUID,
  random = Math.random,
  retryDelayMs = retryDelay(random),
}: WorkflowsOptions): Promise<Workflows> {
  checkRange({ enginePoolMax }, 2, 100, { whole: true })
  checkRange({ maxRecoveryAttempts }, 1, 100, { whole: true })
  checkRange({ heartbeatMs, sweepMs }, 10, 60_000)
  checkRange({ deadAfterMs }, 2 * heartbeatMs, 600_000)

  const schema = `${db.schema}_workflow`
  const engineSchema = `${db.schema}_dbos`
  const channel = `${schema}_runs`
  const node = randomUUID()
  const byName = new Map(pipelines.map((pipeline) => [`${pipeline.name}@${pipeline.version}`, pipeline]))
  const pipelineOf = ({ pipeline, version }: { pipeline: string; version: string }): Pipeline | undefined =>
    byName.get(`${pipeline}@${version}`)

  await migrate(db, { schema, migrations: new URL('./migrations', import.meta.url) })
  const dispatches = createDispatches({ ours: schema, engine: engineSchema, channel })
  const observed = observeWorkflows(metrics)
  const { onState } = observed
  const appVersion = applicationVersion
  const runs = createRunStore({ db, schema, dispatches, channel, appVersion, pipelineOf, onState })
  const store = createExecutionStore({
    db,
    schema,
    dispatches,
    channel,
    idleInTransactionMs: deadAfterMs,
    onState,
  })
  const runner = createRunner({
    store,
    pipelineOf,
    mediansMs: cached(runs.medians),
    maxBegun: maxRecoveryAttempts,
    retryDelayMs,
    logger,
    observe: observed.step,
  })
  const { claims } = runner
  const upkeep = createRunUpkeep({ db, schema, dispatches, appVersion, node, claims, jobTypes })
  const engineQueues = Object.fromEntries([
    ...pipelines.map(({ queue }) => [queue, queues[queue] ?? {}]),
    ...jobTypes.map(({ queue }) => [queue, queues[queue] ?? JOB_QUEUE]),
    ...Object.entries(queues),
  ])
  const queueNames = Object.keys(engineQueues)
  const jobStore = createJobStore({ db, schema })
  const { jobs, hooks } = createJobs({
    db,
    types: jobTypes,
    runs,
    store: jobStore,
    pipelineOf,
    queues: queueNames,
    onJob,
    clock,
    ids,
  })
  for (const type of jobTypes) byName.set(`${type.type}@${type.version}`, jobPipeline(type, hooks))
  let recover: (executors: readonly string[]) => Promise<number> = async () => 0
  let changes: Changes | undefined
  let presence: Presence | undefined
  let engine: Awaited<ReturnType<typeof launchEngine>> | undefined
  try {
    changes = await openChanges(
      db,
      channel,
      (id) => void runner.recheck(id),
      (queue) => engine?.wake(queue),
    )
    // Before the engine: a node that has work in hand and no row counts as lost.
    presence = await joinNodes({
      url: db.url,
      schema,
      node,
      appVersion: applicationVersion,
      dispatches,
      upkeep,
      recover: (executors) => recover(executors),
      onTakenOver: () => {
        logger.warn('other nodes took over the runs of this one')
        runner.abandon()
      },
      onTookOver: observed.takeovers,
      logger,
      heartbeatMs,
      deadAfterMs,
      sweepMs,
    })
    const launch = (): ReturnType<typeof launchEngine> =>
      launchEngine({
        name: schema,
        url: db.url,
        schema: engineSchema,
        node,
        appVersion: applicationVersion,
        poolMax: enginePoolMax,
        idleInTransactionMs: deadAfterMs,
        queues: engineQueues,
        schedules,
        logger,
        random,
        run: runner.run,
        async onSchedule(name, at) {
          const due = schedules.find((each) => each.name === name)
          if (!due) return
          await start(due.pipeline, due.input, {
            idempotencyKey: `schedule:${name}:${at.toISOString()}`,
            ...(due.tenant !== undefined && { tenant: due.tenant }),
          })
        },
      })
    engine = await presence.exclusively(launch)
  } catch (error) {
    await presence?.leave()
    await changes?.close()
    throw error
  }
  const parts = { changes, presence, engine }
  recover = async (executors) => {
    const recovered = await parts.engine.recover(executors)
    if (recovered > 0) await dispatches.wakeNodes(db)
    return recovered
  }
  parts.presence.sweep()
  const depths = observed.watch(jobStore, queueNames, logger)
  const pruning = setInterval(() => void prune(), PRUNE_MS).unref()

  async function prune(): Promise<void> {
    try {
      while ((await upkeep.prune(retentionMs)) === 1_000);
      while ((await dispatches.prune(db, ENGINE_RETENTION_MS)) === 1_000);
    } catch (err) {
      logger.warn({ err }, 'cannot remove old runs; trying again in an hour')
    }
  }

  /** A database that says nothing must not hold up whoever stops. */
  async function atMost(ms: number, work: Promise<unknown>, warning: string): Promise<void> {
    const late = delay(ms, 'late' as const, { ref: false })
    const outcome = await Promise.race([work.then(() => undefined), late]).catch((err: unknown) => ({ err }))
    if (outcome) logger.warn({ outcome }, warning)
  }

  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    clearInterval(pruning)
    depths.stop()
    const { engine, presence, changes } = parts
    const givenBack = 'left without giving runs back; other nodes will find them'
    const left = runner.leave(atMost(deadAfterMs, engine.drain(), givenBack))
    await atMost(deadAfterMs + CLOSE_MS, left, 'left while runs were still writing')
    const closed = Promise.all([presence.leave(), engine.close(), changes.close()])
    await atMost(CLOSE_MS, closed, 'left connections that do not close')
  }

  const within = <T>(tx: Queryable | undefined, work: (tx: Queryable) => Promise<T>): Promise<T> =>
    tx ? work(tx) : db.transaction(work)

  async function start<Input>(
    pipeline: Pipeline<Input, unknown>,
    input: Input,
    {
      id = ids(),
      idempotencyKey,
      tenant = '',
      priority = 'normal',
      delayMs = 0,
      parentId,
      tx,
    }: StartOptions = {},
    forkedFrom?: string,
    copy?: ReadonlySet<string>,
  ): Promise<{ run: Run; existed: boolean }> {
    const dueAt = delayMs > 0 ? new Date(clock().getTime() + delayMs) : undefined
    const run = { id, pipeline, tenant, key: idempotencyKey, parentId, forkedFrom, priority, input, dueAt }
    return within(tx, (on) => runs.insert(on, run, copy))
  }

  /** The order is given under the lock of the run, with the pipeline that the run has. */
  async function steer(
    id: string,
    tx: Queryable | undefined,
    order: (pipeline: Pipeline | undefined) => Parameters<RunStore['transition']>[2],
  ): Promise<Steered> {
    return within(tx, (on) => runs.transition(on, id, (row, steps) => order(pipelineOf(row))(row, steps)))
  }

  return {
    node,
    jobs,
    start: (pipeline, input, options) => start(pipeline, input, options),
    get: (id) => runs.get(id),
    async list(filter, { limit = 50, before } = {}) {
      checkRange({ limit }, 1, 1_000, { whole: true })
      const found = await runs.list(filter, before === undefined ? undefined : BigInt(before), limit + 1)
      const page = found.slice(0, limit)
      return {
        runs: page.map(({ run }) => run),
        next: found.length > limit ? String(page.at(-1)?.seq) : undefined,
      }
    },
    watch: (id, signal) => watchRun(id, signal, runs, parts.changes),
    outputs: (id) => runs.outputs(id),
    cancel: (id, tx) => steer(id, tx, steering.cancel),
    pause: (id, tx) => steer(id, tx, () => steering.pause),
    resume: (id, tx) => steer(id, tx, () => steering.resume),
    retry: (id, tx) => steer(id, tx, (pipeline) => steering.retry(pipeline)),
    redrive: (id, tx) => steer(id, tx, steering.redrive),
    async fork(id, { fromStep, input, ...options } = {}) {
      const first = await runs.get(id, options.tx)
      const pipeline = first && pipelineOf(first)
      if (!first || !pipeline) return undefined
      const copy = steering.stepsToCopy(pipeline, fromStep)
      const { tenant, priority } = first
      const { run } = await start(pipeline, input ?? first.input, { tenant, priority, ...options }, id, copy)
      return run
    },
    stats: () => runs.stats(),
    stop() {
      stopped ??= stop()
      return stopped
    },
  }
}

type Medians = ReadonlyMap<string, number>

function cached(read: (pipeline: Pipeline) => Promise<Medians>): (pipeline: Pipeline) => Promise<Medians> {
  const known = new Map<Pipeline, { value: Promise<Medians>; untilMs: number }>()
  return async (pipeline) => {
    const entry = known.get(pipeline)
    if (entry && performance.now() < entry.untilMs) return entry.value
    // Progress is worth no failure.
    const value = read(pipeline).catch(() => new Map<string, number>())
    known.set(pipeline, { value, untilMs: performance.now() + MEDIANS_FOR_MS })
    return value
  }
}
