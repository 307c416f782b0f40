import { checkRange } from './range.ts'
import { createWindowSum, type WindowSum } from './window-sum.ts'

const SLICES = 10
/** α: the estimate is within ±5 % of a sample that has the rank asked for. */
const RELATIVE_ERROR = 0.05
const GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LN_GROWTH = Math.log(GROWTH)
const LOWEST_MS = 0.01
const HIGHEST_MS = 3_600_000
const BUCKETS = bucketOf(HIGHEST_MS) + 1

export type LatencyQuantile = {
  /** Counts one call that took so long. O(1). */
  record(ms: number): void
  /** The quantile, in milliseconds; `undefined` below the minimum of calls. */
  value(): number | undefined
}

export type LatencyQuantileOptions = {
  /** Which one. Default 0.95, 0 to 1. */
  readonly quantile?: number
  /** How long a call is remembered. Default 10 s, 1 s to 5 min. */
  readonly windowMs?: number
  /** Calls needed in the window before there is an answer. Default 20, 1 to 1,000,000. */
  readonly minimumCalls?: number
}

/**
 * Quantile of the latencies of the last window, for the delay before a hedge (J. Dean and L. A. Barroso, "The Tail at
 * Scale", CACM 2013: hedge after the 95th percentile).
 *
 * Buckets whose bounds grow by a constant factor, so that a microsecond and a minute are known equally well in 200
 * counters, and no sample is kept: DDSketch (C. Masson, J. E. Rim, H. K. Lee, VLDB 2019). Bucket `i` holds
 * `(γⁱ⁻¹, γⁱ]` in units of 10 µs with `γ = (1 + α) / (1 − α)`, and answers `2γⁱ / (γ + 1)`, which is at most `α` = 5 %
 * from anything in it. The rank is `⌊q × (n − 1)⌋ + 1` of the sorted samples. Below 10 µs counts as 10 µs, above an
 * hour as an hour.
 *
 * Each bucket is a sliding count, made when its first sample comes: latencies of one method fill few of them.
 *
 * @throws RangeError if an option is out of range.
 */
export function createLatencyQuantile(
  { quantile = 0.95, windowMs = 10_000, minimumCalls = 20 }: LatencyQuantileOptions,
  { now }: { readonly now: () => number },
): LatencyQuantile {
  checkRange({ quantile }, 0, 1)
  checkRange({ windowMs }, 1_000, 300_000)
  checkRange({ minimumCalls }, 1, 1_000_000, { whole: true })
  const newSum = (): WindowSum => createWindowSum(windowMs / SLICES, SLICES)
  const calls = newSum()
  const buckets: (WindowSum | undefined)[] = Array.from({ length: BUCKETS }, () => undefined)

  return {
    record(ms) {
      const atMs = now()
      const index = bucketOf(Math.min(ms, HIGHEST_MS))
      const bucket = buckets[index] ?? newSum()
      buckets[index] = bucket
      bucket.add(atMs, 1)
      calls.add(atMs, 1)
    },
    value() {
      const atMs = now()
      const total = calls.sum(atMs)
      if (total < minimumCalls) return undefined
      const rank = Math.floor(quantile * (total - 1)) + 1
      let counted = 0
      const index = buckets.findIndex((bucket) => {
        counted += bucket?.sum(atMs) ?? 0
        return counted >= rank
      })
      return (LOWEST_MS * 2 * GROWTH ** index) / (GROWTH + 1)
    },
  }
}

function bucketOf(ms: number): number {
  return ms > LOWEST_MS ? Math.ceil(Math.log(ms / LOWEST_MS) / LN_GROWTH) : 0
}
