import { checkRange, DAY_MS } from './range.ts'

export type PeakEwma = {
  /** Counts a call as pending and returns its start time, to be handed back to exactly one of the three below. */
  start(): number
  success(startedAtMs: number): void
  /** @param pushbackMs what the server asked the client to wait, if it did. Default 0. */
  failure(startedAtMs: number, pushbackMs?: number): void
  /** The call was given up without an answer (cancelled, hedge lost). */
  cancel(startedAtMs: number): void
  /** Expected load of one more call, in milliseconds; the endpoint with the lower cost gets it. */
  cost(): number
  /** Decayed round-trip estimate, in milliseconds, for metrics. */
  estimateMs(): number
  pending(): number
}

export type PeakEwmaOptions = {
  /** τ: a peak loses 63 % of its height in this time. Default 10 s, 1 ms to one day. */
  readonly decayMs?: number
  /** Estimate of an endpoint that has not answered yet. Default 1 s, 1 ms to one day. */
  readonly firstEstimateMs?: number
  /** Whether the first sample takes the place of the first estimate, instead of being averaged in. Default false. */
  readonly firstIsGuess?: boolean
  /** A failure counts as a call that took this long, or longer if it did. Default 5 s, 0 to one day. */
  readonly failureMs?: number
  /** Ceiling of the server's pushback. Default 300 s, 0 to one day. */
  readonly maxPushbackMs?: number
}

/**
 * Load of one endpoint by peak EWMA: `cost = ewma(t) × (pending + 1)`.
 *
 * A sample above the estimate replaces it; one below pulls it down slowly:
 * `if rtt > est: est = rtt; else w = exp(−Δt/τ); est = est·w + rtt·(1 − w)`. So the balancer flees a slow endpoint after
 * one call and returns carefully. From Finagle (`PeakEwma.scala`) and tower (`load/peak_ewma.rs`), with five decisions:
 *
 * - Reading decays the estimate as a sample of 0 ms would, or an endpoint that had one bad peak would never be tried
 *   again. But reading changes nothing: Δt is the time since the last *sample*. In tower a read also resets that
 *   time, so the more often a picker looks, the less a sample weighs.
 * - Pending calls count with their age: the estimate in use is never below their mean age. As
 *   `mean × (pending + 1) > sum ≥ oldest`, the cost is never below the age of the oldest pending call, and a hung
 *   endpoint loses its traffic before its first deadline has passed. The sum of ages is kept by integration over
 *   time, so nothing is stored per call and its magnitude stays small enough for exact-enough floats.
 * - A failure counts as a slow sample (Linkerd's load biaser), else an endpoint that fails fast attracts all traffic.
 * - A call given up took at least its age: it can raise the estimate but never lower it.
 * - The first estimate may be a guess. Averaged in as usual, answers of 1 ms would leave 1 s standing for as long as it
 *   takes to decay, some 50 s, in which an endpoint that takes 300 ms looks as good as the others.
 *
 * A stream should report success at its first message: its length says nothing about the endpoint.
 *
 * State is one object of numbers because V8 updates a double field in place, but allocates on each write of a
 * captured double variable. Nothing is allocated per call.
 *
 * @throws RangeError if an option is out of range.
 */
export function createPeakEwma(
  {
    decayMs = 10_000,
    firstEstimateMs = 1_000,
    firstIsGuess = false,
    failureMs = 5_000,
    maxPushbackMs = 300_000,
  }: PeakEwmaOptions,
  { now }: { readonly now: () => number },
): PeakEwma {
  checkRange({ decayMs, firstEstimateMs }, 1, DAY_MS)
  checkRange({ failureMs, maxPushbackMs }, 0, DAY_MS)
  const startMs = now()
  const state = {
    estimateMs: firstEstimateMs,
    sampledAtMs: startMs,
    isGuess: firstIsGuess,
    pending: 0,
    ageSumMs: 0,
    agedAtMs: startMs,
  }

  const weightAt = (atMs: number) => Math.exp((state.sampledAtMs - atMs) / decayMs)
  const ageSumAt = (atMs: number) => state.ageSumMs + state.pending * (atMs - state.agedAtMs)

  function sample(atMs: number, rttMs: number): void {
    const weight = weightAt(atMs)
    const replaces = state.isGuess || rttMs > state.estimateMs
    state.estimateMs = replaces ? rttMs : state.estimateMs * weight + rttMs * (1 - weight)
    state.isGuess = false
    state.sampledAtMs = atMs
  }

  /** Takes the call out of the pending ones and returns its age. */
  function finish(atMs: number, startedAtMs: number): number {
    const ageMs = atMs - startedAtMs
    const restMs = ageSumAt(atMs) - ageMs
    state.pending -= 1
    state.ageSumMs = state.pending === 0 ? 0 : Math.max(0, restMs)
    state.agedAtMs = atMs
    return ageMs
  }

  return {
    start() {
      const atMs = now()
      state.ageSumMs = ageSumAt(atMs)
      state.agedAtMs = atMs
      state.pending += 1
      return atMs
    },
    success(startedAtMs) {
      const atMs = now()
      sample(atMs, finish(atMs, startedAtMs))
    },
    failure(startedAtMs, pushbackMs = 0) {
      const atMs = now()
      const ageMs = finish(atMs, startedAtMs)
      sample(atMs, Math.max(ageMs, failureMs, Math.min(pushbackMs, maxPushbackMs)))
    },
    cancel(startedAtMs) {
      const atMs = now()
      const ageMs = finish(atMs, startedAtMs)
      if (ageMs > state.estimateMs * weightAt(atMs)) sample(atMs, ageMs)
    },
    cost() {
      const atMs = now()
      const estimateMs = state.estimateMs * weightAt(atMs)
      if (state.pending === 0) return estimateMs
      return Math.max(estimateMs, ageSumAt(atMs) / state.pending) * (state.pending + 1)
    },
    estimateMs: () => state.estimateMs * weightAt(now()),
    pending: () => state.pending,
  }
}
