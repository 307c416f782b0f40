import type { Metrics } from './metrics.ts'
import { redactText } from './redact.ts'

export type HealthState = 'healthy' | 'degraded' | 'unhealthy' | 'unknown'

export interface HealthCheck {
  readonly name: string
  /** Resolves when all is well, rejects otherwise. `signal` aborts at the time-out and when health stops. */
  readonly check: (signal: AbortSignal) => Promise<unknown>
  /** A failed critical check alone makes the whole unhealthy. */
  readonly critical: boolean
  /** Default 30,000. */
  readonly intervalMs?: number
  /** Default 10,000; at most `intervalMs`. */
  readonly timeoutMs?: number
}

/** The last result of one check. */
export type CheckResult = { readonly name: string; readonly critical: boolean } & (
  | { readonly state: 'unknown' }
  | { readonly state: 'passed'; readonly checkedAt: number; readonly durationMs: number }
  | {
      readonly state: 'failed'
      readonly checkedAt: number
      readonly durationMs: number
      readonly error: string
    }
)

export interface HealthReport {
  readonly state: HealthState
  readonly checks: readonly CheckResult[]
}

export interface Health {
  /** Adds a check, run at once when health is started; the answer removes it. Throws RangeError for bad options. */
  register(check: HealthCheck): () => void
  /** From the last results, never waits. */
  report(): HealthReport
  /** Called with the report when the overall state changes; the answer unsubscribes. */
  onChange(listener: (report: HealthReport) => void): () => void
  start(): void
  stop(): void
}

export interface HealthOptions {
  /** Milliseconds; default `Date.now`. */
  readonly now?: () => number
  /** Calls `fn` once after `ms`, unless the answer is called first; default an unref'd `setTimeout`. */
  readonly after?: (ms: number, fn: () => void) => () => void
  /** Gets `docmesh_health_check_up`. */
  readonly metrics?: Metrics
}

/**
 * Runs each check on its own clock, all at the same time, so that one that hangs delays no other: it fails at its
 * time-out and is tried again at its next interval.
 */
export function createHealth({ now = Date.now, after = unrefTimeout, metrics }: HealthOptions = {}): Health {
  const runners = new Map<string, Runner>()
  const listeners = new Set<(report: HealthReport) => void>()
  let started = false
  let lastState: HealthState = 'unknown'

  const report = (): HealthReport => {
    const checks = [...runners.values()].map((runner) => runner.result())
    return { state: overallState(checks), checks }
  }
  const changed = () => {
    const current = report()
    if (current.state === lastState) return
    lastState = current.state
    for (const listener of listeners) listener(current)
  }

  return {
    register(check) {
      if (runners.has(check.name)) throw new RangeError(`health check ${check.name} is registered already`)
      const up = metrics?.gauge('docmesh_health_check_up').labels({ check: check.name })
      const runner = createRunner(check, now, after, (result) => {
        up?.set(result.state === 'passed' ? 1 : 0)
        changed()
      })
      runners.set(check.name, runner)
      changed()
      if (started) runner.start()
      return () => {
        runner.stop()
        if (runners.delete(check.name)) changed()
      }
    },
    report,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    start() {
      if (started) return
      started = true
      for (const runner of runners.values()) runner.start()
    },
    stop() {
      started = false
      for (const runner of runners.values()) runner.stop()
    },
  }
}

/**
 * Unhealthy when a critical check or at least half of all failed, degraded from a quarter. Unknown until every critical
 * check has a result, and without checks: a service that has none takes unknown as ready.
 */
function overallState(checks: readonly CheckResult[]): HealthState {
  const failed = checks.filter((check) => check.state === 'failed')
  if (failed.some((check) => check.critical)) return 'unhealthy'
  const share = checks.length === 0 ? 0 : failed.length / checks.length
  if (share >= 0.5) return 'unhealthy'
  const waiting = checks.filter((check) => check.state === 'unknown')
  if (waiting.length === checks.length || waiting.some((check) => check.critical)) return 'unknown'
  return share >= 0.25 ? 'degraded' : 'healthy'
}

interface Runner {
  start(): void
  stop(): void
  result(): CheckResult
}

function createRunner(
  { name, check, critical, intervalMs = 30_000, timeoutMs = 10_000 }: HealthCheck,
  now: () => number,
  after: NonNullable<HealthOptions['after']>,
  onResult: (result: CheckResult) => void,
): Runner {
  if (!(intervalMs > 0))
    throw new RangeError(`intervalMs of health check ${name} is ${intervalMs}, not above 0`)
  if (!(timeoutMs > 0 && timeoutMs <= intervalMs)) {
    throw new RangeError(`timeoutMs of health check ${name} is ${timeoutMs}, not in (0, ${intervalMs}]`)
  }
  let result: CheckResult = { name, critical, state: 'unknown' }
  let stop = () => {}

  const run = async () => {
    const startedAt = now()
    const aborter = new AbortController()
    const { signal } = aborter
    const aborted = Promise.withResolvers<never>()
    signal.addEventListener('abort', () => aborted.reject(signal.reason))
    const cancelTimeout = after(timeoutMs, () => aborter.abort(new Error(`timed out after ${timeoutMs} ms`)))
    const cancelNext = after(intervalMs, run)
    let stopped = false
    stop = () => {
      stopped = true
      cancelNext()
      cancelTimeout()
      aborter.abort(new Error('health checks stopped'))
    }

    const error = await Promise.race([attempt(check, signal), aborted.promise]).then(
      () => undefined,
      (reason: unknown) => redactText(reason instanceof Error ? reason.message : String(reason)),
    )
    cancelTimeout()
    if (stopped) return
    const times = { checkedAt: now(), durationMs: now() - startedAt }
    result =
      error === undefined
        ? { name, critical, state: 'passed', ...times }
        : { name, critical, state: 'failed', ...times, error }
    onResult(result)
  }

  return { start: run, stop: () => stop(), result: () => result }
}

async function attempt(check: HealthCheck['check'], signal: AbortSignal): Promise<void> {
  await check(signal)
}

function unrefTimeout(ms: number, fn: () => void): () => void {
  const timer = setTimeout(fn, ms).unref()
  return () => clearTimeout(timer)
}
