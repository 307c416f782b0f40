import { checkRange } from './range.ts'

/** Which of the two algorithms found the outlier. */
export type SweepReason = 'success_rate' | 'failure_percentage'

/** Calls of one host that ended during the last interval. */
export type HostCounts = { readonly successes: number; readonly failures: number }

export type OutlierOptions = {
  /** Success rate: standard deviations below the mean that are still normal. Default 1.9 (A50's 1900), 1 to 10. */
  readonly stdevFactor?: number
  /** Success rate: calls that a host needs to be judged, and to count in the mean. Default 100, 1 to 1,000,000. */
  readonly successRateVolume?: number
  /** Failure percentage: a host that fails more than this is an outlier. Default 85, 0 to 100. */
  readonly failurePercentage?: number
  /** Failure percentage: calls that a host needs to be judged. Default 50, 1 to 1,000,000. */
  readonly failurePercentageVolume?: number
}

/**
 * The outliers among the hosts of one service, by the calls of one interval: gRFC A50 (xDS outlier detection), which
 * is Envoy's. For each host, in the order given, why it is one, or `undefined`.
 *
 * - Success rate: below `mean − stdevFactor × stdev` of the rates of all hosts with enough calls. It sees the host that
 *   is worse than its siblings where no fixed threshold would, and stays still when all fail alike.
 * - Failure percentage: strictly above the threshold, whatever the siblings do.
 *
 * Each algorithm needs `clamp(ceil(n / 2), 2, 5)` hosts with enough calls, where A50 asks for five: with three replicas
 * it would never act. Among fewer than five hosts only the second one can: with the standard deviation of the
 * population, as A50's implementations use, one of n hosts lies at most `√(n − 1)` deviations below the mean.
 *
 * How many outliers may be ejected, and for how long, is the affair of `Ejection`.
 *
 * @throws RangeError if an option is out of range.
 */
export function findOutliers(
  hosts: readonly HostCounts[],
  {
    stdevFactor = 1.9,
    successRateVolume = 100,
    failurePercentage = 85,
    failurePercentageVolume = 50,
  }: OutlierOptions = {},
): readonly (SweepReason | undefined)[] {
  checkRange({ stdevFactor }, 1, 10)
  checkRange({ failurePercentage }, 0, 100)
  checkRange({ successRateVolume, failurePercentageVolume }, 1, 1_000_000, { whole: true })
  const minimumHosts = Math.min(5, Math.max(2, Math.ceil(hosts.length / 2)))
  const lowestRate = lowestNormalRate(
    hosts.filter((host) => callsOf(host) >= successRateVolume).map(rateOf),
    stdevFactor,
    minimumHosts,
  )
  const busy = hosts.filter((host) => callsOf(host) >= failurePercentageVolume).length
  const percentageApplies = busy >= minimumHosts

  return hosts.map((host) => {
    const calls = callsOf(host)
    if (calls >= successRateVolume && rateOf(host) < lowestRate) return 'success_rate'
    const failing = calls >= failurePercentageVolume && host.failures * 100 > failurePercentage * calls
    return percentageApplies && failing ? 'failure_percentage' : undefined
  })
}

const callsOf = ({ successes, failures }: HostCounts): number => successes + failures
const rateOf = (host: HostCounts): number => host.successes / callsOf(host)

/** `mean − factor × stdev`; nothing is below the result when there are too few rates. */
function lowestNormalRate(rates: readonly number[], factor: number, minimumHosts: number): number {
  if (rates.length < minimumHosts) return Number.NEGATIVE_INFINITY
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length
  return mean - factor * Math.sqrt(variance)
}
