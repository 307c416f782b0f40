import { checkRange } from './range.ts'
import { createWindowSum } from './window-sum.ts'

const BUCKETS = 10

export type AdaptiveThrottle = {
  /** Asks to send one call; false means: fail it locally, at once. A call that was let through counts when it has ended. */
  admit(): boolean
  /** Counts one call that the backend accepted, whatever its result. A call without any answer is not counted. */
  accepted(): void
  /** Counts one call that the backend refused because it has too much to do. */
  refused(): void
  /** Chance that the next call is refused, 0 to below 1, for metrics. */
  probability(): number
}

export type AdaptiveThrottleOptions = {
  /** Calls let through per accepted call: 1.5 lets half as many again test a backend that refuses. Default 1.5, 1 to 10. */
  readonly multiplier?: number
  /** Calls per window that are never held against the backend, so that a quiet client is left alone. Default 5, 0 to 1,000. */
  readonly padding?: number
  /** How long a call is remembered. Default 10 s, 1 s to 5 min. */
  readonly windowMs?: number
}

/**
 * Client-side adaptive throttling: refuse with probability
 * `max(0, (total − padding − multiplier × accepts) / (total + 1))`.
 *
 * A backend that answers RESOURCE_EXHAUSTED still pays for parsing and refusing. This gives that cost back: the
 * client refuses most of what would be refused anyway, without asking anybody. Locally refused calls count in `total`,
 * so the probability keeps rising while demand exceeds what is accepted, and falls by itself when either changes.
 * Google, *Site Reliability Engineering*, chapter 21 "Handling Overload", client-side throttling. The book's formula
 * has no padding: there a single failure of an idle client already costs refusals.
 *
 * The book counts a call when it is asked for and its acceptance when the answer is there, so that calls under way look
 * like refused ones: of 64 that begin together after a quiet time, most would be refused, by a backend that is idle.
 * Here a call counts once its result is known. Silence is no result: deadlines and circuit breakers are for that.
 *
 * The result is below 1, so some calls always get through to notice a recovery.
 *
 * @throws RangeError if an option is out of range.
 */
export function createAdaptiveThrottle(
  { multiplier = 1.5, padding = 5, windowMs = 10_000 }: AdaptiveThrottleOptions,
  { now, random }: { readonly now: () => number; readonly random: () => number },
): AdaptiveThrottle {
  checkRange({ multiplier }, 1, 10)
  checkRange({ padding }, 0, 1_000)
  checkRange({ windowMs }, 1_000, 300_000)
  const calls = createWindowSum(windowMs / BUCKETS, BUCKETS)
  const accepts = createWindowSum(windowMs / BUCKETS, BUCKETS)

  function probabilityAt(atMs: number): number {
    const total = calls.sum(atMs)
    return Math.max(0, (total - padding - multiplier * accepts.sum(atMs)) / (total + 1))
  }

  return {
    admit() {
      const atMs = now()
      const isRefused = random() < probabilityAt(atMs)
      if (isRefused) calls.add(atMs, 1)
      return !isRefused
    },
    accepted() {
      const atMs = now()
      calls.add(atMs, 1)
      accepts.add(atMs, 1)
    },
    refused: () => calls.add(now(), 1),
    probability: () => probabilityAt(now()),
  }
}
