import { checkRange, DAY_MS } from './range.ts'

export type SlowStartOptions = {
  /** How long an endpoint is new. Default 10 s, 0 (never) to one day. */
  readonly windowMs?: number
  /** Share of its weight that an endpoint has from the first moment. Default 0.1, 0.01 to 1. */
  readonly minFactor?: number
  /** Shape of the ramp: 1 is a line, more rises faster at first, less later. Default 1, 0.1 to 10. */
  readonly aggression?: number
}

/**
 * Share of its weight that an endpoint of this age has, in (0, 1]:
 * `max(minFactor, (age / window) ^ (1 / aggression))`, and 1 from the end of the window.
 *
 * A process that has just started has cold caches and no compiled code. A balancer that prefers the idle and the
 * unmeasured would send it most of the traffic at exactly that time. Envoy, "Slow start mode"; Envoy counts whole
 * seconds and at least one, which over its default window is what `minFactor` gives here.
 *
 * @throws RangeError if an option is out of range.
 */
export function slowStartFactor(ageMs: number, options?: SlowStartOptions): number {
  const { windowMs = 10_000, minFactor = 0.1, aggression = 1 } = options ?? {}
  // The defaults need no check, and a pick asks this for each candidate.
  if (options) {
    checkRange({ windowMs }, 0, DAY_MS)
    checkRange({ minFactor }, 0.01, 1)
    checkRange({ aggression }, 0.1, 10)
  }
  if (ageMs >= windowMs) return 1
  return Math.max(minFactor, (Math.max(0, ageMs) / windowMs) ** (1 / aggression))
}
