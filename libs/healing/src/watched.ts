import type { CheckResult, HealthCheck } from './health-check.ts'
import type { RecoveryAction } from './recovery-action.ts'

/** A check and how it has been. */
export interface Watched {
  readonly check: Required<HealthCheck>
  readonly ended: AbortController
  cancelNext: () => void
  /** Failures in a row. */
  failures: number
  unhealthy: boolean
  /** When it passed again after it had failed, were it once. */
  mendedAtMs: number
  /** Recoveries since it last was well for a whole window. */
  recoveries: number
  /** Nothing is done before. */
  restUntilMs: number
  /** Done for this check, and to be rolled back once all is well. */
  readonly undo: Set<RecoveryAction>
}

export const createWatched = (check: Required<HealthCheck>): Watched => ({
  check,
  ended: new AbortController(),
  cancelNext: () => {},
  failures: 0,
  unhealthy: false,
  mendedAtMs: -Infinity,
  recoveries: 0,
  restUntilMs: -Infinity,
  undo: new Set(),
})

/** Counts a result. Returns whether the health changed: `failuresBefore` failures in a row, or one pass. */
export function noteResult(subject: Watched, { healthy }: CheckResult, atMs: number): boolean {
  if (healthy && subject.failures > 0) subject.mendedAtMs = atMs
  subject.failures = healthy ? 0 : subject.failures + 1
  const unhealthy = subject.unhealthy ? !healthy : subject.failures >= subject.check.failuresBefore
  if (unhealthy === subject.unhealthy) return false
  subject.unhealthy = unhealthy
  return true
}
