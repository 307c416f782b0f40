import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Logger, Metrics } from '@docmesh/telemetry'
import type { QueueOptions, Schedule } from './engine.ts'
import type { Job, JobEvent, Jobs, JobType } from './job.ts'
import type { Pipeline } from './pipeline.ts'
import type { Priority, Run } from './run.ts'
import type { RunFilter, RunStore } from './run-store.ts'

export interface ScheduledPipeline extends Schedule {
  readonly pipeline: Pipeline
  readonly input: unknown
  readonly tenant?: string
}

export interface WorkflowsOptions {
  /** Of the service. The library keeps its tables in `<schema>_workflow`, the engine its own in `<schema>_dbos`. */
  readonly db: Postgres
  readonly pipelines: readonly Pipeline[]
  /**
   * Which runs this node may carry on: a run stays with the version that began it. Change it when a pipeline changes in
   * a way that its runs under way would not survive, not with every release.
   */
  readonly applicationVersion: string
  readonly logger: Logger
  /** Work that anybody may queue by the name of its type; default none. */
  readonly jobs?: readonly JobType[]
  /**
   * Called in the transaction in which something happens to a job: write events here, and they commit with it or not at
   * all. While it throws, the job goes nowhere; it is queued again every few seconds.
   */
  readonly onJob?: (tx: Queryable, job: Job, event: JobEvent) => Promise<void>
  readonly metrics?: Metrics
  /** By name; a queue that a pipeline or a job names and that is not here has the defaults; that of jobs runs 8, 4 a tenant. */
  readonly queues?: Readonly<Record<string, QueueOptions>>
  readonly schedules?: readonly ScheduledPipeline[]
  /** Connections of the engine, beside the pool of `db`, one for the presence and one that listens. Default 4. */
  readonly enginePoolMax?: number
  /** Nodes that may begin a run and be lost before it counts as what ends them. Default 10. */
  readonly maxRecoveryAttempts?: number
  readonly heartbeatMs?: number
  /** Default 5 000. */
  readonly deadAfterMs?: number
  /** Default 250. */
  readonly sweepMs?: number
  /** How long ended runs are kept, but for dead ones; default 30 days. */
  readonly retentionMs?: number
  /** Of delays and schedules of jobs; default that of the machine. */
  readonly clock?: () => Date
  readonly ids?: () => string
  readonly random?: () => number
  /** Milliseconds between failed attempt n of a step, from 1, and the next; default 1 s, doubling up to 5 minutes, and 10 % more at most. */
  readonly retryDelayMs?: (attempt: number) => number
}

export interface StartOptions {
  /** Default: a new UUID. */
  readonly id?: string
  /** Starting again with the key gives the first run, per pipeline and tenant. */
  readonly idempotencyKey?: string
  readonly tenant?: string
  /** Default `normal`. */
  readonly priority?: Priority
  readonly delayMs?: number
  readonly parentId?: string
  /** Starts it if and when this transaction commits. */
  readonly tx?: Queryable
}

export interface ForkOptions extends Omit<StartOptions, 'tenant' | 'parentId'> {
  /** Keep the results of the steps that do not build on this one. Default: do all again. */
  readonly fromStep?: string
  /** Default: that of the first run. */
  readonly input?: unknown
}

/** What an order did: the run after it, and whether it changed anything. Undefined: no such run. */
export type Steered = { readonly run: Run; readonly changed: boolean } | undefined

export interface Workflows {
  /** Of this start of the process. */
  readonly node: string
  readonly jobs: Jobs
  start<Input>(
    pipeline: Pipeline<Input, unknown>,
    input: Input,
    options?: StartOptions,
  ): Promise<{ readonly run: Run; readonly existed: boolean }>
  get(id: string): Promise<Run | undefined>
  list(
    filter: RunFilter,
    page?: { readonly limit?: number; readonly before?: string },
  ): Promise<{ readonly runs: readonly Run[]; readonly next: string | undefined }>
  /** The run now and after every change, until it has ended. Ends at once for an unknown id. */
  watch(id: string, signal: AbortSignal): AsyncIterable<Run>
  outputs(id: string): Promise<Readonly<Record<string, unknown>>>
  /** Stops it for good and takes back what has compensations. */
  cancel(id: string, tx?: Queryable): Promise<Steered>
  /** Stops it until `resume`; the step under way is done again. */
  pause(id: string, tx?: Queryable): Promise<Steered>
  resume(id: string, tx?: Queryable): Promise<Steered>
  /** A failed run, from the failed step. */
  retry(id: string, tx?: Queryable): Promise<Steered>
  /** A new run from an old one. Undefined: no such run. */
  fork(id: string, options?: ForkOptions): Promise<Run | undefined>
  /** A dead run, from where it died. */
  redrive(id: string, tx?: Queryable): Promise<Steered>
  stats(): ReturnType<RunStore['stats']>
  /**
   * Gives what is under way to other nodes, and resolves when all is still; while the database does not answer, `deadAfterMs`
   * and four seconds later at the latest. Never rejects.
   */
  stop(): Promise<void>
}
