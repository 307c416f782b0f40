import { userInfo } from 'node:os'
import { DBOS, type WorkflowQueue } from '@dbos-inc/dbos-sdk'
import { currentOwnerXid } from '@dbos-inc/dbos-sdk/internal/context'
import { DBOSExecutor } from '@dbos-inc/dbos-sdk/internal/dbos-executor'
import { dbRetryConfig } from '@dbos-inc/dbos-sdk/internal/utils'
import type { Logger } from '@docmesh/telemetry'
import { type Dispatch, RUN_FUNCTION } from './dispatches.ts'
import { serveQueues } from './engine-queues.ts'

export interface QueueOptions {
  /** Runs at once on each node; default 4. */
  readonly concurrency?: number
  /** Of these, how many of one tenant; with it tenants take turns at random. Default: no turns. */
  readonly perTenant?: number
  /** Runs at once on all nodes together. Costs a serialisable claim: for limits that something outside sets. */
  readonly globalConcurrency?: number
  /** Runs begun by all nodes together. */
  readonly rateLimit?: { readonly max: number; readonly periodMs: number }
  /** How often a node looks for work that nobody told it of, such as what was delayed; default 250 ms. */
  readonly pollMs?: number
}

export interface Schedule {
  readonly name: string
  /** Five fields, or six with seconds first. */
  readonly cron: string
  /** IANA name; default UTC. */
  readonly timezone?: string
}

export interface EngineOptions {
  readonly name: string
  readonly url: string
  readonly schema: string
  readonly node: string
  readonly appVersion: string
  readonly poolMax: number
  readonly idleInTransactionMs: number
  readonly queues: Readonly<Record<string, QueueOptions>>
  readonly schedules: readonly Schedule[]
  readonly logger: Logger
  readonly random: () => number
  /**
   * Runs what a queue gave to this node under a claim. Says whether it has ended the dispatch; if not, or when it throws, the
   * dispatch is over all the same.
   */
  readonly run: (dispatch: Dispatch, claim: string) => Promise<boolean>
  /** Called once for each time, by whichever node comes first; again when that one is lost. */
  readonly onSchedule: (name: string, at: Date) => Promise<void>
}

export interface Engine {
  /** There may be work in this queue, '' any. */
  wake(queue: string): void
  /** Gives what these executors have in hand back to the queues. Returns how many. */
  recover(executors: readonly string[]): Promise<number>
  /** Takes no more work and gives back what this node has in hand; then its executions must stop. */
  drain(): Promise<void>
  close(): Promise<void>
}

const SCHEDULE_FUNCTION = 'docmesh.schedule'
/** Ours is the smaller one: begun runs are counted in the run, where operators see it. */
const ENGINE_RECOVERY_ATTEMPTS = 1_000

/** Dispatches that ended with their runs, of which the engine has nothing to write any more. */
const ended = new Set<string>()

let registered: Pick<EngineOptions, 'run' | 'onSchedule'> | undefined

/** The functions that DBOS knows: it keeps them for the life of the process, so they look up who is there now. */
const functions = (): { schedule: (at: Date, name: string) => Promise<void> } => {
  known ??= {
    run: DBOS.registerWorkflow(
      async (runId: string, number: number) => {
        const claimed = DBOS.workflowID ?? ''
        const claim = currentOwnerXid(claimed)
        if (!claim) throw new Error('the engine started a run without a claim')
        if (await registered?.run({ runId, number }, claim)) ended.add(claimed)
      },
      { name: RUN_FUNCTION, maxRecoveryAttempts: ENGINE_RECOVERY_ATTEMPTS },
    ),
    schedule: DBOS.registerWorkflow(
      async (at: Date, name: string) => {
        await registered?.onSchedule(name, new Date(at))
      },
      { name: SCHEDULE_FUNCTION, maxRecoveryAttempts: ENGINE_RECOVERY_ATTEMPTS },
    ),
  }
  return known
}
let known: { run: unknown; schedule: (at: Date, name: string) => Promise<void> } | undefined

/**
 * DBOS Transact: its queues (priority, partitions, rates, delays), claims and schedules, in a schema of its own in the
 * same database. One per process, because DBOS is. Its pool takes `poolMax` connections; it does not listen. Two nodes that
 * launch at once on an empty database would deadlock in its migrations.
 */
export async function launchEngine({
  name,
  url,
  schema,
  node,
  appVersion,
  poolMax,
  idleInTransactionMs,
  queues,
  schedules,
  logger,
  random,
  run,
  onSchedule,
}: EngineOptions): Promise<Engine> {
  if (registered) throw new Error('this process has workflows already: DBOS allows one engine')
  registered = { run, onSchedule }
  const { schedule } = functions()
  // After an outage it would wait up to a minute before it looks for the database again.
  dbRetryConfig.initialBackoffSec = 0.1
  dbRetryConfig.maxBackoffSec = 1
  DBOS.setConfig({
    name,
    systemDatabaseUrl: engineUrl(url, idleInTransactionMs, name),
    systemDatabaseSchemaName: schema,
    systemDatabasePoolSize: poolMax,
    executorID: node,
    applicationVersion: appVersion,
    useListenNotify: false,
    listenQueues: [],
    schedulerPollingIntervalMs: 5_000,
    logger: engineLogger(logger),
  })
  const served: WorkflowQueue[] = []
  try {
    await DBOS.launch()
    for (const [queue, options] of Object.entries(queues))
      served.push(await DBOS.registerQueue(queue, queueParameters(options)))
    const wanted = new Set(schedules.map((each) => each.name))
    for (const { scheduleName } of await DBOS.listSchedules())
      if (!wanted.has(scheduleName)) await DBOS.deleteSchedule(scheduleName)
    await DBOS.applySchedules(
      schedules.map(({ name: scheduleName, cron, timezone = 'UTC' }) => ({
        scheduleName,
        workflowFn: schedule,
        schedule: cron,
        context: scheduleName,
        cronTimezone: timezone,
      })),
    )
  } catch (error) {
    await DBOS.shutdown()
    registered = undefined
    throw error
  }
  const executor = DBOSExecutor.globalInstance
  if (!executor) throw new Error('DBOS launched without an executor')
  const recover = async (executors: readonly string[]): Promise<number> =>
    (await executor.recoverPendingWorkflows([...executors])).length

  const { systemDatabase } = executor
  const record = systemDatabase.recordWorkflowOutput.bind(systemDatabase)
  systemDatabase.recordWorkflowOutput = async (id, status, claim) =>
    ended.delete(id) || record(id, status, claim)
  const serving = serveQueues(executor, served, { appVersion, logger, random })
  return {
    wake: serving.wake,
    recover,
    async drain() {
      await Promise.all([serving.stop(), executor.deactivateEventReceivers()])
      await recover([node])
    },
    async close() {
      await serving.stop()
      await DBOS.shutdown()
      registered = undefined
    },
  }
}

/** A connection that is frozen inside of a transaction must not hold its locks against those who take over. */
function engineUrl(url: string, idleInTransactionMs: number, applicationName: string): string {
  const own = new URL(url)
  own.username ||= userInfo().username
  const options = own.searchParams.get('options') ?? ''
  own.searchParams.set(
    'options',
    `${options} -c idle_in_transaction_session_timeout=${idleInTransactionMs}`.trim(),
  )
  own.searchParams.set('application_name', applicationName)
  return own.href
}

const queueParameters = ({
  concurrency = 4,
  perTenant,
  globalConcurrency,
  rateLimit,
  pollMs = 250,
}: QueueOptions) => ({
  workerConcurrency: concurrency,
  minPollingIntervalMs: pollMs,
  ...(perTenant !== undefined && { partitionWorkerConcurrency: perTenant }),
  ...(globalConcurrency !== undefined && { globalConcurrency }),
  ...(rateLimit && { rateLimit: { limitPerPeriod: rateLimit.max, periodSec: rateLimit.periodMs / 1_000 } }),
  onConflict: 'update_if_latest_version' as const,
})

/** DBOS tells at `info` what is of interest to its developers, and at `error` what a run has recorded already. */
const engineLogger = (logger: Logger) => ({
  info: (entry: unknown) => logger.debug({ engine: 'dbos' }, String(entry)),
  debug: () => {},
  warn: (entry: unknown) => logger.debug({ engine: 'dbos' }, String(entry)),
  error: (entry: unknown) => logger.warn({ engine: 'dbos' }, String(entry)),
})
