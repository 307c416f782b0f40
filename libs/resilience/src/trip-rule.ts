import { checkRange } from './range.ts'

export type TripReason = 'FAILURE_RATE' | 'SLOW_RATE' | 'CONSECUTIVE_FAILURES'

/** What a closed breaker has seen. With the consecutive rule, `calls` is the current run of failures. */
export type TripCounts = { readonly calls: number; readonly failures: number; readonly slow: number }

/** Decides when a closed breaker opens. One rule lives as long as one closed period, so it never needs a reset. */
export type TripRule = {
  /** Counts one outcome; a reason means: open. */
  record(failed: boolean, durationMs: number): TripReason | undefined
  counts(): TripCounts
}

export type TripOptions =
  | {
      readonly kind: 'RATE'
      /** Number of last calls that are judged. Default 100, 1 to 10,000. */
      readonly windowCalls?: number
      /** Calls needed before there is a judgement. Default 20, 1 to `windowCalls`. */
      readonly minimumCalls?: number
      /** Share of failed calls that opens. Default 0.5, 0.01 to 1. */
      readonly failureRate?: number
      /** A call that takes longer, failed or not, is slow. Default: none is; 0 or more. */
      readonly slowCallMs?: number
      /** Share of slow calls that opens. Default 1, 0.01 to 1. */
      readonly slowRate?: number
    }
  | {
      readonly kind: 'CONSECUTIVE'
      /** Failures in a row that open. Default 5, 1 to 10,000. */
      readonly failureThreshold?: number
    }

/** @throws RangeError if an option is out of range. */
export function createTripRule(options: TripOptions): TripRule {
  return options.kind === 'RATE' ? rateRule(options) : consecutiveRule(options)
}

const FAILED = 1
const SLOW = 2

/**
 * Failure and slow-call rate over a count window: a ring of outcomes with running counts, subtract on evict, O(1) per
 * call (resilience4j's count-based sliding window; its window and rates, but a judgement after 20 calls, not 100). The
 * last calls, not the last seconds: the rule then means the same at 1 and at 1,000 calls per second.
 */
function rateRule({
  windowCalls = 100,
  minimumCalls = 20,
  failureRate = 0.5,
  slowCallMs = Number.POSITIVE_INFINITY,
  slowRate = 1,
}: Extract<TripOptions, { kind: 'RATE' }>): TripRule {
  checkRange({ windowCalls }, 1, 10_000, { whole: true })
  checkRange({ minimumCalls }, 1, windowCalls, { whole: true })
  checkRange({ failureRate, slowRate }, 0.01, 1)
  checkRange({ slowCallMs }, 0, Number.POSITIVE_INFINITY)
  const window = new Uint8Array(windowCalls)
  let next = 0
  let calls = 0
  let failures = 0
  let slow = 0

  return {
    record(failed, durationMs) {
      const evicted = window[next] ?? 0
      const added = (failed ? FAILED : 0) | (durationMs > slowCallMs ? SLOW : 0)
      window[next] = added
      next = (next + 1) % windowCalls
      calls = Math.min(calls + 1, windowCalls)
      failures += (added & FAILED) - (evicted & FAILED)
      slow += ((added & SLOW) - (evicted & SLOW)) / SLOW
      if (calls < minimumCalls) return undefined
      if (failures / calls >= failureRate) return 'FAILURE_RATE'
      if (slow / calls >= slowRate) return 'SLOW_RATE'
      return undefined
    },
    counts: () => ({ calls, failures, slow }),
  }
}

/** For dependencies called too rarely to fill a window: so many failures in a row, and one success starts over. */
function consecutiveRule({ failureThreshold = 5 }: Extract<TripOptions, { kind: 'CONSECUTIVE' }>): TripRule {
  checkRange({ failureThreshold }, 1, 10_000, { whole: true })
  let streak = 0
  return {
    record(failed) {
      streak = failed ? streak + 1 : 0
      return streak >= failureThreshold ? 'CONSECUTIVE_FAILURES' : undefined
    },
    counts: () => ({ calls: streak, failures: streak, slow: 0 }),
  }
}
