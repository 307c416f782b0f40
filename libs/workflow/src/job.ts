import type { Queryable } from '@docmesh/postgres'
import { checkRange } from '@docmesh/resilience'

/** What a job gets. Its effects in the database go through `transaction`, effects elsewhere carry `idempotencyKey`. */
export interface JobContext<Input> {
  readonly jobId: string
  readonly tenant: string
  /** User who queued it; '' when nobody did. */
  readonly requestedBy: string
  readonly input: Input
  /** From 1; counts failed attempts, not recoveries. */
  readonly attempt: number
  /** Aborts at the time-out, when the job is cancelled, and when another node has taken it over. */
  readonly signal: AbortSignal
  /** The same for every attempt on every node. */
  readonly idempotencyKey: string
  /** The one database effect of the job; see StepContext. */
  transaction<T>(effect: (tx: Queryable) => Promise<T>): Promise<T>
}

export interface JobDefinition<Input> {
  /** Such as `analysis:start`. */
  readonly type: string
  /** Default `1`. */
  readonly version?: string
  /** Default `jobs`. */
  readonly queue?: string
  /** Of one attempt; default one minute. 1 ms to one day. */
  readonly timeoutMs?: number
  /** Attempts in all when whoever queues it does not say; default 5. 1 to 100. */
  readonly maxAttempts?: number
  /** Which errors are worth another attempt; default `any`. */
  readonly retry?: 'any' | 'transient'
  /** The input when it is valid: called when the job is queued and again before each attempt. Throws what is wrong. */
  check(input: unknown): Input
  /** What it returns is kept as JSON. */
  run(job: JobContext<Input>): Promise<unknown>
}

/** A checked definition, types erased. */
export interface JobType {
  readonly type: string
  readonly version: string
  readonly queue: string
  readonly timeoutMs: number
  readonly maxAttempts: number
  readonly retry: 'any' | 'transient'
  readonly check: (input: unknown) => unknown
  readonly run: (job: JobContext<unknown>) => Promise<unknown>
}

const TYPE = /^[a-z][a-z0-9-]*(:[a-z][a-z0-9-]*)+$/
const DAY_MS = 86_400_000

/**
 * `defineJob({ type: 'analysis:start', check: (input) => schema.parse(input), run: async ({ input }) => … })`
 *
 * @throws RangeError when the type or a limit is wrong.
 */
export function defineJob<Input>(definition: JobDefinition<Input>): JobType {
  const {
    type,
    version = '1',
    queue = 'jobs',
    timeoutMs = 60_000,
    maxAttempts = 5,
    retry = 'any',
  } = definition
  if (!TYPE.test(type) || type.length > 63)
    throw new RangeError(
      `"${type}": write what:does in lower-case letters, digits and -, at most 63 characters`,
    )
  checkRange({ timeoutMs }, 1, DAY_MS)
  checkRange({ maxAttempts }, 1, MAX_ATTEMPTS, { whole: true })
  return {
    type,
    version,
    queue,
    timeoutMs,
    maxAttempts,
    retry,
    check: definition.check.bind(definition),
    run: definition.run.bind(definition) as JobType['run'],
  }
}

export const MAX_ATTEMPTS = 100

/** `scheduled` waits for its time, `retrying` failed and waits to be tried again, `dead` failed too often. */
export type JobState = 'queued' | 'scheduled' | 'running' | 'retrying' | 'completed' | 'dead' | 'cancelled'

export interface Job {
  readonly id: string
  readonly type: string
  readonly tenant: string
  readonly requestedBy: string
  readonly input: unknown
  /** Higher first; 0 is normal. */
  readonly priority: number
  readonly state: JobState
  /** Times it was started, since it was last queued by hand; recoveries do not count. */
  readonly attempts: number
  readonly maxAttempts: number
  /** What the last attempt met; '' after success. */
  readonly lastError: string
  /** When it may run, or might. */
  readonly scheduledFor: Date
  /** '' for one run. */
  readonly cron: string
  readonly createdAt: Date
  readonly endedAt: Date | undefined
}

/** What is told in the transaction of the change, once each. `attempt` counts from 1. */
export type JobEvent =
  /** `waiting`: jobs and runs that wait in its queue, itself included; counted up to 1 000. */
  | { readonly kind: 'queued'; readonly waiting: number }
  | { readonly kind: 'started'; readonly attempt: number }
  | { readonly kind: 'retrying'; readonly attempt: number; readonly delayMs: number; readonly error: string }
  /** `durationMs`: from its first start. */
  | { readonly kind: 'completed'; readonly durationMs: number }
  | { readonly kind: 'failed'; readonly attempts: number; readonly error: string }

export interface EnqueueOptions {
  /** Default: a new UUID. */
  readonly id?: string
  /** Queueing again with the key gives the first job, per type and tenant. */
  readonly idempotencyKey?: string
  readonly tenant?: string
  readonly requestedBy?: string
  /** Higher first; default 0. −1 000 000 to 1 000 000. Orders the jobs of one tenant where tenants take turns. */
  readonly priority?: number
  /** Time to wait before the first attempt; default 0, at most 366 days. */
  readonly delayMs?: number
  /**
   * Five fields, in UTC, or with `CRON_TZ=America/Sao_Paulo ` before them in that zone. Each run makes the next one when it
   * ends; times that pass while one waits or runs are left out.
   */
  readonly cron?: string
  /** 1 to 100; default: that of the type. */
  readonly maxAttempts?: number
  /** Queues it if and when this transaction commits. */
  readonly tx?: Queryable
}

export interface JobFilter {
  readonly tenant?: string
  readonly type?: string
  /** Default: all. */
  readonly states?: readonly JobState[]
}

/** Jobs and other runs of one queue. */
export interface QueueStats {
  readonly queue: string
  /** Those that could begin now. */
  readonly queued: number
  readonly running: number
  /** In the last hour. */
  readonly completed: number
  readonly dead: number
  /** How long the oldest that could begin waits; 0 when none does. */
  readonly oldestWaitMs: number
}

/** What an order did: the job after it, and whether it changed anything. Undefined: no such job. */
export type SteeredJob = { readonly job: Job; readonly changed: boolean } | undefined

export interface Jobs {
  /** Registered here, in alphabetical order. */
  readonly types: readonly string[]
  /**
   * Throws INVALID_REQUEST for an unknown type, a value out of range or a cron that cannot be read, and whatever the type
   * throws for its input.
   */
  enqueue(
    type: string,
    input: unknown,
    options?: EnqueueOptions,
  ): Promise<{ readonly job: Job; readonly existed: boolean }>
  get(id: string): Promise<Job | undefined>
  /** Newest first; `next` goes into `before` for the next page. Default 50, at most 1 000. */
  list(
    filter: JobFilter,
    page?: { readonly limit?: number; readonly before?: string },
  ): Promise<{ readonly jobs: readonly Job[]; readonly next: string | undefined }>
  /** Of a job with a cron it ends the series, whichever of its runs is named; then `job` is the one that was to come. */
  cancel(id: string, tx?: Queryable): Promise<SteeredJob>
  /**
   * Runs a dead job again, with all its attempts; one of a series runs for itself, the series has gone on. An order with the
   * key of the last one that changed it says `changed` again and does nothing.
   */
  retry(
    id: string,
    options?: { readonly idempotencyKey?: string; readonly tx?: Queryable },
  ): Promise<SteeredJob>
  /** In alphabetical order; queues without runs are there with zeros. */
  stats(): Promise<readonly QueueStats[]>
}
