import { checkRange } from './range.ts'
import { createWindowSum } from './window-sum.ts'

const BUCKETS = 10

export type RetryBudget = {
  /** Counts one original call. Retries and hedges are not deposited, or they would pay for each other. */
  deposit(): void
  /** Takes one retry or hedge from the budget; false means: do not send it. */
  tryWithdraw(): boolean
  /** Retries that would be granted now, for metrics. */
  available(): number
}

export type RetryBudgetOptions = {
  /** Retries allowed per original call. Default 0.2, 0 to 10. */
  readonly ratio?: number
  /** Retries always allowed per second, whatever the traffic. Default 10, 0 to 10,000. */
  readonly minPerSecond?: number
  /** How long a call or a retry is remembered. Default 10 s, 1 s to 60 s. */
  readonly windowMs?: number
}

/**
 * Retry budget: over the last window, retries may not exceed `ratio × calls + minPerSecond × window`.
 *
 * A limit of attempts per call multiplies traffic by that limit when everything fails, at each layer: three layers of
 * three attempts are 27 calls for one. A budget bounds the sum instead: with the default ratio an outage costs 20 %
 * more traffic, not 200 %. The per-second floor serves clients too quiet to have earned anything. Defaults and
 * semantics are those of Finagle's RetryBudget, tower's `tps_budget.rs` and Linkerd (20 % + 10/s over 10 s).
 *
 * tower folds both into one balance of integer weights, for its atomics. Counting calls and retries apart gives the
 * same answer with any ratio, and both counts stay whole.
 *
 * @throws RangeError if an option is out of range.
 */
export function createRetryBudget(
  { ratio = 0.2, minPerSecond = 10, windowMs = 10_000 }: RetryBudgetOptions,
  { now }: { readonly now: () => number },
): RetryBudget {
  checkRange({ ratio }, 0, 10)
  checkRange({ minPerSecond }, 0, 10_000)
  checkRange({ windowMs }, 1_000, 60_000)
  const calls = createWindowSum(windowMs / BUCKETS, BUCKETS)
  const retries = createWindowSum(windowMs / BUCKETS, BUCKETS)
  const floor = (minPerSecond * windowMs) / 1_000

  const availableAt = (atMs: number) =>
    Math.max(0, Math.floor(floor + ratio * calls.sum(atMs)) - retries.sum(atMs))

  return {
    deposit: () => calls.add(now(), 1),
    tryWithdraw() {
      const atMs = now()
      if (availableAt(atMs) < 1) return false
      retries.add(atMs, 1)
      return true
    },
    available: () => availableAt(now()),
  }
}
