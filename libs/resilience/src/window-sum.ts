/**
 * Sum of what was added during the last `bucketMs × buckets` milliseconds, in constant memory.
 *
 * The one sliding window of this library: the success ring, the retry budget, the adaptive throttle and the latency
 * quantile all count with it. Time is cut into buckets aligned to the clock's zero and the bucket being left behind is
 * subtracted from a running total, so both operations are O(1) amortised. The price is granularity: an amount is
 * counted for more than `bucketMs × (buckets − 1)` and at most `bucketMs × buckets` (tower's `tps_budget.rs` makes the
 * same trade). Amounts are whole numbers, so the running total never drifts.
 *
 * The caller reads the clock and passes the result, so that several sums share one reading. Times are monotonic
 * milliseconds, never negative.
 */
export type WindowSum = {
  add(atMs: number, amount: number): void
  sum(atMs: number): number
}

export function createWindowSum(bucketMs: number, buckets: number): WindowSum {
  const slots = new Float64Array(buckets)
  let newest = 0
  let total = 0

  function moveTo(atMs: number): number {
    const bucket = Math.floor(atMs / bucketMs)
    for (let stale = Math.max(newest + 1, bucket - buckets + 1); stale <= bucket; stale += 1) {
      total -= slots[stale % buckets] ?? 0
      slots[stale % buckets] = 0
    }
    newest = Math.max(newest, bucket)
    return newest % buckets
  }

  return {
    add(atMs, amount) {
      const slot = moveTo(atMs)
      slots[slot] = (slots[slot] ?? 0) + amount
      total += amount
    },
    sum(atMs) {
      moveTo(atMs)
      return total
    },
  }
}
