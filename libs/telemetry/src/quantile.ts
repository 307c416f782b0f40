/**
 * Estimates a quantile from histogram buckets by linear interpolation inside the bucket that holds it, as Prometheus'
 * `histogram_quantile` does (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile):
 * the first bucket starts at 0 when its bound is positive, and a quantile above the last bound is that bound.
 *
 * `bounds` are ascending upper bounds; `counts` has one more entry, for values above the last bound, and is not
 * cumulative. `undefined` when nothing was counted.
 */
export function bucketQuantile(
  q: number,
  bounds: readonly number[],
  counts: ArrayLike<number>,
): number | undefined {
  let total = 0
  for (let i = 0; i <= bounds.length; i++) total += counts[i] ?? 0
  if (total === 0) return undefined
  const rank = q * total
  let below = 0
  for (const [i, upper] of bounds.entries()) {
    const count = counts[i] ?? 0
    if (count > 0 && below + count >= rank) {
      const lower = bounds[i - 1] ?? Math.min(0, upper)
      return lower + (upper - lower) * ((rank - below) / count)
    }
    below += count
  }
  return bounds.at(-1)
}
