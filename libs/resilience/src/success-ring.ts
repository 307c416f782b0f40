import { checkRange } from './range.ts'
import { createWindowSum } from './window-sum.ts'

export type SuccessRing = {
  success(): void
  failure(): void
  /** Calls that ended during the window. */
  calls(): number
  /** Failures among them, 0 to 1; 0 when there were none. */
  failureRatio(): number
}

export type SuccessRingOptions = {
  /** Width of one bucket. Default 1 s, 10 ms to 1 min. */
  readonly bucketMs?: number
  /** Number of buckets. Default 10, 2 to 100. */
  readonly buckets?: number
}

/**
 * Exact success ratio of the calls that ended during the last `bucketMs × buckets` milliseconds.
 *
 * Counts, not an exponential average of the ratio: an average moves by the number of calls, so the outcome of a burst
 * vanishes behind the next burst, and it cannot tell one failure in two calls from fifty in a hundred. With counts
 * the minimum number of calls is a number somebody can check.
 *
 * @throws RangeError if an option is out of range.
 */
export function createSuccessRing(
  { bucketMs = 1_000, buckets = 10 }: SuccessRingOptions,
  { now }: { readonly now: () => number },
): SuccessRing {
  checkRange({ bucketMs }, 10, 60_000)
  checkRange({ buckets }, 2, 100, { whole: true })
  const successes = createWindowSum(bucketMs, buckets)
  const failures = createWindowSum(bucketMs, buckets)
  return {
    success: () => successes.add(now(), 1),
    failure: () => failures.add(now(), 1),
    calls() {
      const atMs = now()
      return successes.sum(atMs) + failures.sum(atMs)
    },
    failureRatio() {
      const atMs = now()
      const failed = failures.sum(atMs)
      return failed === 0 ? 0 : failed / (failed + successes.sum(atMs))
    },
  }
}
