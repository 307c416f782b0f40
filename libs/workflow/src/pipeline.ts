import type { Queryable } from '@docmesh/postgres'
import { checkRange } from '@docmesh/resilience'
import { sortSteps } from './plan.ts'
import { type RetryClass, type RetryPolicy, retryPolicy } from './retry-class.ts'
import type { Run, RunState } from './run.ts'

/** What a step gets. Its effects in the database go through `transaction`, effects elsewhere carry `idempotencyKey`. */
export interface StepContext<Input, Outputs> {
  readonly runId: string
  readonly tenant: string
  /** User who queued the job; '' for runs that are none. */
  readonly requestedBy: string
  readonly input: Input
  /** From 1; counts failed attempts, not recoveries. */
  readonly attempt: number
  /** Aborts at the time-out of the step, when the run is stopped, and when another node has taken it over. */
  readonly signal: AbortSignal
  /** `run:step`, the same for every attempt on every node. */
  readonly idempotencyKey: string
  /** What a step before this one returned, as JSON brings it back. Throws when it was skipped or is not done. */
  output<Name extends keyof Outputs & string>(step: Name): Outputs[Name]
  /** Whether `output` has something to return. */
  has(step: keyof Outputs & string): boolean
  /**
   * The one database effect of the step: happens once however often the step runs, and only while this node owns the
   * run. When it has happened before, `effect` is not called and what it returned then is returned again, as JSON.
   */
  transaction<T>(effect: (tx: Queryable) => Promise<T>): Promise<T>
}

export interface StepDefinition<Input, Outputs, Name extends keyof Outputs & string> {
  readonly name: Name
  /** Steps that must have ended; default: the step declared before this one. `[]` starts at once. */
  readonly after?: readonly (keyof Outputs & string)[]
  /** Of one attempt. 1 ms to one day. */
  readonly timeoutMs: number
  /** Default `transient`. */
  readonly retry?: RetryClass | RetryPolicy
  /** Share of the progress as long as no history says otherwise; default 1. */
  readonly weight?: number
  run(step: StepContext<Input, Outputs>): Promise<Outputs[Name] | Skipped>
  /** Takes the effect of the completed step back, when the run fails or is cancelled. */
  compensate?(step: StepContext<Input, Outputs>): Promise<void>
}

export interface PipelineDefinition<Input, Outputs> {
  readonly name: string
  readonly version: string
  /** Default `default`. */
  readonly queue?: string
  readonly steps: readonly {
    [Name in keyof Outputs & string]: StepDefinition<Input, Outputs, Name>
  }[keyof Outputs & string][]
  /**
   * Called in the transaction of every change of a run: write events here, and they commit with it or not at all. While it
   * throws, the run goes nowhere; it is queued again every few seconds.
   */
  readonly onChange?: (tx: Queryable, run: Run, before: RunState | undefined) => Promise<void>
  /**
   * Called in the transaction in which a run gives its place to others until a failed step is tried again; `run` is queued
   * until `run.dueAt`.
   */
  readonly onRetry?: (tx: Queryable, run: Run, failed: FailedAttempt) => Promise<void>
}

export interface FailedAttempt {
  readonly step: string
  /** From 1. */
  readonly attempt: number
  readonly error: string
}

/** A step with its defaults, types erased. */
export interface PlannedStep {
  readonly name: string
  readonly after: readonly string[]
  readonly timeoutMs: number
  readonly retry: RetryPolicy
  readonly weight: number
  readonly run: (step: StepContext<unknown, Record<string, unknown>>) => Promise<unknown>
  readonly compensate: ((step: StepContext<unknown, Record<string, unknown>>) => Promise<void>) | undefined
}

/** A checked pipeline. Its type carries what it takes and what its steps return. */
export interface Pipeline<Input = unknown, Outputs = unknown> {
  readonly name: string
  readonly version: string
  readonly queue: string
  /** In an order in which each step comes after those it waits for. */
  readonly steps: readonly PlannedStep[]
  readonly onChange: PipelineDefinition<unknown, unknown>['onChange']
  readonly onRetry: PipelineDefinition<unknown, unknown>['onRetry']
  /** A job gives its place to others before every further attempt, and is dead after the last one. */
  readonly job: boolean
  /** Exists for the type checker only. */
  readonly types?: { readonly input: Input; readonly outputs: Outputs }
}

/** Returned by a step that had nothing to do. */
export interface Skipped {
  readonly skipped: string
}

export const skip = (reason: string): Skipped => ({ skipped: reason })

export const isSkipped = (result: unknown): result is Skipped =>
  typeof result === 'object' &&
  result !== null &&
  'skipped' in result &&
  typeof result.skipped === 'string' &&
  Object.keys(result).length === 1

const DAY_MS = 86_400_000
const NAME = /^[a-z][a-z0-9-]{0,62}$/

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new RangeError(`"${name}": use lower-case letters, digits and -, at most 63 characters`)
}

/**
 * `definePipeline<Input, { extract: Text; rules: Findings }>({ name, version, steps: [{ name: 'extract', … }, …] })`
 *
 * @throws RangeError when a name, a dependency or a limit is wrong.
 */
export function definePipeline<Input, Outputs>({
  name,
  version,
  queue = 'default',
  steps,
  onChange,
  onRetry,
}: PipelineDefinition<Input, Outputs>): Pipeline<Input, Outputs> {
  for (const id of [name, queue, ...steps.map((step) => step.name)]) checkName(id)
  if (steps.length === 0) throw new RangeError(`pipeline ${name} has no steps`)
  const planned = steps.map((step, index): PlannedStep => {
    const { timeoutMs, weight = 1 } = step
    checkRange({ timeoutMs }, 1, DAY_MS)
    checkRange({ weight }, 0.001, 1_000_000)
    const before = steps[index - 1]
    return {
      name: step.name,
      after: step.after ?? (before ? [before.name] : []),
      timeoutMs,
      retry: retryPolicy(step.retry ?? 'transient'),
      weight,
      run: step.run.bind(step) as PlannedStep['run'],
      compensate: step.compensate?.bind(step) as PlannedStep['compensate'],
    }
  })
  return { name, version, queue, steps: sortSteps(planned), onChange, onRetry, job: false }
}
