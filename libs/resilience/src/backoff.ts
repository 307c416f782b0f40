import { checkRange, DAY_MS } from './range.ts'

/** Delay before the given retry, in milliseconds. Retries count from 1. */
export type Backoff = (retry: number) => number

export type BackoffOptions = {
  /** Mean delay before the first retry. Default 100 ms, 1 ms to one day. */
  readonly initialMs?: number
  /** Growth from one retry to the next. Default 2, 1 to 10. */
  readonly multiplier?: number
  /** Ceiling of the mean delay. Default 30 s, `initialMs` to one day. */
  readonly maxMs?: number
  /** Width of the spread around the mean: 0.15 means ±15 %. Default 0.15, 0 to 1. */
  readonly jitter?: number
}

/**
 * Exponential back-off: `min(maxMs, initialMs × multiplier^(retry − 1)) × (1 ± jitter)`.
 *
 * The spread is symmetric and applied after the ceiling, as gRPC does (proposal A6; `doc/connection-backoff.md`), so a
 * delay reaches `maxMs × (1 + jitter)`. Clamping the result to `maxMs` instead would put half of all clients on the
 * very same delay exactly when they have waited longest, which is the synchronised wave that jitter exists to break
 * (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
 *
 * The function keeps no count: whoever retries knows which retry it is.
 *
 * @throws RangeError if an option is out of range.
 */
export function createBackoff(
  { initialMs = 100, multiplier = 2, maxMs = 30_000, jitter = 0.15 }: BackoffOptions,
  random: () => number,
): Backoff {
  checkRange({ initialMs }, 1, DAY_MS)
  checkRange({ maxMs }, initialMs, DAY_MS)
  checkRange({ multiplier }, 1, 10)
  checkRange({ jitter }, 0, 1)
  return (retry) => {
    const meanMs = Math.min(maxMs, initialMs * multiplier ** (retry - 1))
    return meanMs * (1 + jitter * (2 * random() - 1))
  }
}
