export {
  type AdaptiveThrottle,
  type AdaptiveThrottleOptions,
  createAdaptiveThrottle,
} from './adaptive-throttle.ts'
export { type Backoff, type BackoffOptions, createBackoff } from './backoff.ts'
export {
  type Breaker,
  type BreakerDeps,
  type BreakerOptions,
  type BreakerSnapshot,
  createBreaker,
  type OpenReason,
  type Permit,
  type Refusal,
} from './breaker.ts'
export {
  type CallEpoch,
  createEjection,
  type Ejection,
  type EjectionDeps,
  type EjectionOptions,
  type EjectionReason,
  type EjectionSnapshot,
  type FailureKind,
} from './ejection.ts'
export { inPanic, maxEjected } from './ejection-cap.ts'
export { createGuard, type Guard, type GuardDeps, type Verdict } from './guard.ts'
export {
  createLatencyQuantile,
  type LatencyQuantile,
  type LatencyQuantileOptions,
} from './latency-quantile.ts'
export { findOutliers, type HostCounts, type OutlierOptions, type SweepReason } from './outlier-sweep.ts'
export { createPeakEwma, type PeakEwma, type PeakEwmaOptions } from './peak-ewma.ts'
export { checkRange } from './range.ts'
export { rendezvousScore } from './rendezvous.ts'
export { type RetryOptions, retry, type Sleep } from './retry.ts'
export { createRetryBudget, type RetryBudget, type RetryBudgetOptions } from './retry-budget.ts'
export { type SlowStartOptions, slowStartFactor } from './slow-start.ts'
export { createSuccessRing, type SuccessRing, type SuccessRingOptions } from './success-ring.ts'
export type { TripCounts, TripOptions, TripReason } from './trip-rule.ts'
export { weightedChoice } from './weighted-choice.ts'
