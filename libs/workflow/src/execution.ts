import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseUnavailable } from '@docmesh/postgres'
import { createBackoff, retry } from '@docmesh/resilience'
import { RpcError } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import {
  type DoneStep,
  type ExecutionStore,
  type Hold,
  OwnershipLost,
  type ParkedStep,
  type RunChange,
  type StepChange,
} from './execution-store.ts'
import { jsonOf, storable } from './json.ts'
import type { Observed, StepOutcome } from './observe.ts'
import { isSkipped, type PlannedStep, type StepContext } from './pipeline.ts'
import { progressOf, readySteps, stepsToUndo } from './plan.ts'
import { mayRetry, retryPolicy } from './retry-class.ts'
import { type Failure, hasEnded } from './run.ts'
import { tookEffect } from './steering.ts'

export interface ExecutionDeps {
  readonly store: ExecutionStore
  readonly mediansMs: (hold: Hold) => Promise<ReadonlyMap<string, number>>
  readonly retryDelayMs: (attempt: number) => number
  readonly clock: () => number
  readonly logger: Logger
  readonly observe: Observed['step']
}

/** Pauses up to this long are waited for on the spot; a longer one gives the place in the queue to another run. */
const PARK_MS = 5_000

type Settled =
  | {
      readonly kind: 'completed'
      readonly step: PlannedStep
      readonly attempts: number
      readonly output: string
    }
  | {
      readonly kind: 'skipped'
      readonly step: PlannedStep
      readonly attempts: number
      readonly reason: string
    }
  | {
      readonly kind: 'failed'
      readonly step: PlannedStep
      readonly attempts: number
      readonly error: unknown
    }
  | {
      readonly kind: 'parked'
      readonly step: PlannedStep
      readonly attempts: number
      readonly error: unknown
      readonly delayMs: number
    }

/**
 * Runs what is left of a run that this process has just begun, until it ends, waits for later, or is lost to somebody
 * else (OwnershipLost, or the reason of `signal`).
 */
export async function execute(
  hold: Hold,
  rows: readonly DoneStep[],
  signal: AbortSignal,
  { store, mediansMs, retryDelayMs, clock, logger, observe }: ExecutionDeps,
): Promise<void> {
  const { steps, job } = hold.pipeline
  const ownAttempts = hold.run.max_attempts !== null && { attempts: hold.run.max_attempts }
  const failedState = job ? 'dead' : 'failed'
  const byName = new Map(rows.map((row) => [row.name, row]))
  const outputs = new Map(
    rows.filter(({ state }) => state === 'completed').map(({ name, output }) => [name, output]),
  )
  /** To be taken back when the run fails. */
  const affected = new Set(rows.filter(tookEffect).map(({ name }) => name))
  const ended = new Set(
    rows.filter(({ state }) => state === 'completed' || state === 'skipped').map(({ name }) => name),
  )

  const advance = (change: RunChange): Promise<void> => patiently(() => store.advance(hold, change), signal)

  function contextOf(
    step: PlannedStep,
    attempt: number,
    own: AbortSignal,
    undo: boolean,
  ): StepContext<unknown, Record<string, unknown>> {
    let used = false
    return {
      runId: hold.run.id,
      tenant: hold.run.tenant,
      requestedBy: hold.run.requested_by ?? '',
      input: hold.run.input,
      attempt,
      signal: own,
      idempotencyKey: `${hold.run.id}:${undo ? 'undo:' : ''}${step.name}`,
      output(name) {
        if (!outputs.has(name))
          throw new Error(`step ${step.name} asked for the output of ${name}, which has none`)
        return outputs.get(name)
      },
      has: (name) => outputs.has(name),
      async transaction(effect) {
        if (used) throw new Error(`step ${step.name} has had its transaction: put all its effects into one`)
        used = true
        own.throwIfAborted()
        const value = await store.effect(hold, step.name, undo ? 'undo_effect' : 'effect', effect, own)
        affected.add(step.name)
        return value
      },
    }
  }

  async function attempts(step: PlannedStep, undo = false): Promise<Settled> {
    const before = byName.get(step.name)
    const first = !undo && before?.state === 'running' ? Math.max(1, before.attempts) : 1
    for (let attempt = first; ; attempt++) {
      const startedMs = performance.now()
      const tell = (outcome: StepOutcome): void =>
        observe(hold.pipeline.name, step.name, outcome, performance.now() - startedMs)
      try {
        // One layer retries, this one; `retry` lends its time-out, which does not wait for a step that ignores its signal.
        const result = await retry(
          (own) => {
            const context = contextOf(step, attempt, own, undo)
            return undo ? (step.compensate?.(context) ?? Promise.resolve()) : step.run(context)
          },
          { attempts: 1, backoff: () => 0, perAttemptTimeoutMs: step.timeoutMs, signal },
        )
        const output = jsonOf(result)
        const skipped = isSkipped(result)
        tell(undo ? 'compensated' : skipped ? 'skipped' : 'completed')
        if (skipped) return { kind: 'skipped', step, attempts: attempt, reason: result.skipped }
        return { kind: 'completed', step, attempts: attempt, output }
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof OwnershipLost) throw error
        tell('failed')
        const policy = undo ? retryPolicy('transient') : { ...step.retry, ...ownAttempts }
        if (!mayRetry(policy, attempt, error)) return { kind: 'failed', step, attempts: attempt, error }
        const delayMs = retryDelayMs(attempt)
        logger.warn(
          { err: error, run_id: hold.run.id, step: step.name, attempt },
          'step failed; trying again',
        )
        // A compensation keeps its place: nothing else may happen to the run in between.
        if ((job || delayMs > PARK_MS) && !undo)
          return { kind: 'parked', step, attempts: attempt, error, delayMs }
        await delay(delayMs, undefined, { signal })
      }
    }
  }

  async function forward(): Promise<void> {
    const medians = await mediansMs(hold)
    const begun = new Set<string>()
    const active = new Map<string, Promise<Settled>>()
    const parked: (Settled & { kind: 'parked' })[] = []
    let failure: Failure | undefined

    const takeReady = (): PlannedStep[] => {
      const ready = failure ? [] : readySteps(steps, ended, begun)
      for (const { name } of ready) begun.add(name)
      return ready
    }
    const launch = (ready: readonly PlannedStep[]): void => {
      for (const step of ready) active.set(step.name, attempts(step))
    }

    const first = takeReady()
    const fresh = first.filter(({ name }) => byName.get(name)?.state !== 'running')
    if (fresh.length > 0) await advance({ steps: fresh.map(runningStep) })
    launch(first)
    try {
      while (active.size > 0) {
        const settled = await Promise.race(active.values())
        active.delete(settled.step.name)
        if (settled.kind === 'parked') {
          parked.push(settled)
          continue
        }
        if (settled.kind === 'failed') failure ??= failureOf(settled.step.name, settled.error)
        else ended.add(settled.step.name)
        if (settled.kind === 'completed') {
          outputs.set(settled.step.name, JSON.parse(settled.output))
          affected.add(settled.step.name)
        }
        const next = takeReady()
        const completed = ended.size === steps.length
        const over = failure && active.size === 0 && stepsToUndo(steps, affected).length === 0
        await advance({
          ...(completed && { state: 'completed' }),
          ...(over && { state: failedState }),
          ...(failure && { failure }),
          progress: progressOf(steps, ended, medians),
          steps: [settledStep(settled), ...next.map(runningStep)],
        })
        launch(next)
      }
    } finally {
      // Who leaves early must not leave rejections behind that nobody hears of.
      for (const left of active.values()) left.catch(() => {})
    }
    if (hasEnded(hold.run)) return
    if (failure) return endFailed()
    const soonest = Math.min(...parked.map(({ delayMs }) => delayMs))
    if (parked.length > 0)
      await patiently(() => store.park(hold, new Date(clock() + soonest), parked.map(parkedStep)), signal)
  }

  async function endFailed(): Promise<void> {
    if (stepsToUndo(steps, affected).length === 0) return advance({ state: failedState })
    await advance({ state: 'compensating', outcome: 'failed' })
    await backward()
  }

  async function backward(): Promise<void> {
    let failure: Failure | undefined
    for (const step of stepsToUndo(steps, affected)) {
      const settled = await attempts(step, true)
      if (settled.kind === 'failed' || settled.kind === 'parked') {
        logger.error({ err: settled.error, run_id: hold.run.id, step: step.name }, 'compensation failed')
        failure ??= failureOf(step.name, settled.error)
        const { message } = failureOf(step.name, settled.error)
        const state = outputs.has(step.name) ? 'completed' : 'failed'
        await advance({ steps: [{ name: step.name, state, detail: `not taken back: ${message}` }] })
        continue
      }
      await advance({ steps: [{ name: step.name, state: 'undone' }] })
    }
    // What could not be taken back waits for somebody to look at it.
    await advance(
      failure
        ? { state: 'dead', failure: hold.run.failure ?? failure }
        : { state: hold.run.outcome ?? 'failed' },
    )
  }

  await (hold.run.state === 'compensating' ? backward() : forward())
}

const runningStep = ({ name }: PlannedStep): StepChange => ({ name, state: 'running' })

function settledStep(settled: Exclude<Settled, { kind: 'parked' }>): StepChange {
  const { kind, step, attempts } = settled
  const { name } = step
  if (kind === 'completed') return { name, state: 'completed', attempts, output: settled.output }
  if (kind === 'skipped') return { name, state: 'skipped', attempts, detail: storable(settled.reason) }
  return { name, state: 'failed', attempts, detail: failureOf(name, settled.error).message }
}

/** A parked step goes on with its next attempt. */
const parkedStep = ({ step: { name }, attempts, error }: Settled & { kind: 'parked' }): ParkedStep => ({
  name,
  state: 'running',
  attempts: attempts + 1,
  detail: failureOf(name, error).message,
})

function failureOf(step: string, error: unknown): Failure {
  if (!(error instanceof Error)) return { step, reason: 'Error', message: storable(String(error)) }
  const reason = error instanceof RpcError ? error.reason : error.name
  return { step, reason, message: storable(error.message) }
}

const outageDelayMs = createBackoff({ initialMs: 50, maxMs: 1_000, jitter: 0.5 }, Math.random)

/** A database that is away for a while costs no work: what was computed waits for it. */
async function patiently<T>(write: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      signal.throwIfAborted()
      return await write()
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) throw error
      await delay(outageDelayMs(attempt), undefined, { signal })
    }
  }
}
