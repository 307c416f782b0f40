import { createBackoff } from './backoff.ts'
import { checkRange, DAY_MS } from './range.ts'
import {
  createTripRule,
  type TripCounts,
  type TripOptions,
  type TripReason,
  type TripRule,
} from './trip-rule.ts'

const PROBE_RETRY_MS = 1_000

export type OpenReason = TripReason | 'PROBE_FAILED' | 'PROBE_TIMEOUT'

export type BreakerSnapshot =
  | ({ readonly state: 'CLOSED' } & TripCounts)
  | {
      readonly state: 'OPEN'
      readonly reason: OpenReason
      /** Openings since the breaker was last closed. */
      readonly openings: number
      readonly retryAfterMs: number
    }
  | {
      readonly state: 'HALF_OPEN'
      readonly openings: number
      readonly inFlight: number
      readonly successes: number
    }

/** The right to make one call. The first report counts; any later one does nothing. */
export type Permit = {
  readonly admitted: true
  success(durationMs: number): void
  failure(durationMs: number): void
  /** The outcome says nothing about the dependency: the call was cancelled, or never sent. */
  ignore(): void
}

export type Refusal = { readonly admitted: false; readonly retryAfterMs: number }

export type Breaker = {
  tryAcquire(): Permit | Refusal
  state(): BreakerSnapshot['state']
  snapshot(): BreakerSnapshot
}

export type BreakerOptions = {
  /** What opens it. Default `{ kind: 'RATE' }`. */
  readonly trip?: TripOptions
  /** Mean time open after the first opening, doubled at each reopening. Default 10 s, 1 ms to one day. */
  readonly openMs?: number
  /** Ceiling of that mean. Default 60 s, `openMs` to one day. */
  readonly maxOpenMs?: number
  /** Spread around the mean: 0.2 means ±20 %. Default 0.2, 0 to 1. */
  readonly jitter?: number
  /** Calls admitted while half open, all of which must succeed. Default 3, 1 to 100. */
  readonly probes?: number
  /** A probe that has not reported after this time has failed. Default 30 s, 1 ms to one day. */
  readonly probeTimeoutMs?: number
}

export type BreakerDeps = {
  readonly now: () => number
  readonly random: () => number
  /** Called after each change of state, for metrics and events. */
  readonly onTransition?: (from: BreakerSnapshot['state'], to: BreakerSnapshot) => void
}

type State =
  | { readonly kind: 'CLOSED'; readonly rule: TripRule }
  | {
      readonly kind: 'OPEN'
      readonly reason: OpenReason
      readonly openings: number
      readonly untilMs: number
    }
  | {
      readonly kind: 'HALF_OPEN'
      readonly openings: number
      readonly inFlight: Set<Probe>
      successes: number
    }

type Probe = { readonly deadlineMs: number }

/**
 * Circuit breaker: stop calling a dependency that fails, so that neither it nor the caller drowns, and find out
 * gently when it is back. M. Nygard, *Release It!*, "Circuit Breaker".
 *
 * - **Each state owns its evidence.** State is a tagged union (as in cockatiel's `CircuitBreakerPolicy.ts`) and a permit
 *   remembers the state object it was issued in. A report that finds another one in place is dropped, so a slow call
 *   of the previous period can neither reopen a recovered breaker nor close an open one, with no counter to compare.
 * - **HALF_OPEN admits exactly `probes` calls.** A success keeps its slot, so nobody beyond the probes is exposed
 *   before the verdict; an ignored probe gives its slot back. Any failure reopens for twice as long.
 *   A slow probe that succeeds is a success: slowness is judged by rate, hence once closed.
 * - **A probe that never reports fails.** Otherwise it holds its slot, and the breaker half open, for ever
 *   (resilience4j issue 903).
 * - **No timer.** Time acts when the breaker is asked for a permit: an idle breaker stays OPEN after its time is up, and
 *   costs nothing. Open times are jittered so that the callers of one dependency do not return in step.
 *
 * @throws RangeError if an option is out of range.
 */
export function createBreaker(
  {
    trip = { kind: 'RATE' },
    openMs = 10_000,
    maxOpenMs = 60_000,
    jitter = 0.2,
    probes = 3,
    probeTimeoutMs = 30_000,
  }: BreakerOptions,
  { now, random, onTransition }: BreakerDeps,
): Breaker {
  checkRange({ openMs, probeTimeoutMs }, 1, DAY_MS)
  checkRange({ maxOpenMs }, openMs, DAY_MS)
  checkRange({ probes }, 1, 100, { whole: true })
  const openFor = createBackoff({ initialMs: openMs, maxMs: maxOpenMs, jitter }, random)
  let state: State = closed()

  function closed(): State {
    return { kind: 'CLOSED', rule: createTripRule(trip) }
  }

  function open(reason: OpenReason, openings: number, atMs: number): State {
    return { kind: 'OPEN', reason, openings, untilMs: atMs + openFor(openings) }
  }

  function enter(next: State): State {
    const from = state.kind
    state = next
    onTransition?.(from, snapshot())
    return next
  }

  function advance(atMs: number): State {
    if (state.kind === 'OPEN' && atMs >= state.untilMs) {
      return enter({ kind: 'HALF_OPEN', openings: state.openings, inFlight: new Set(), successes: 0 })
    }
    if (state.kind === 'HALF_OPEN') {
      const [oldest] = state.inFlight
      if (oldest && atMs >= oldest.deadlineMs) return enter(open('PROBE_TIMEOUT', state.openings + 1, atMs))
    }
    return state
  }

  function issue(issuedIn: State, report: (failed: boolean | undefined, durationMs: number) => void): Permit {
    let used = false
    function use(failed: boolean | undefined, durationMs: number): void {
      if (used || state !== issuedIn) return
      used = true
      report(failed, durationMs)
    }
    return {
      admitted: true,
      success: (durationMs) => use(false, durationMs),
      failure: (durationMs) => use(true, durationMs),
      ignore: () => use(undefined, 0),
    }
  }

  function snapshot(): BreakerSnapshot {
    switch (state.kind) {
      case 'CLOSED':
        return { state: 'CLOSED', ...state.rule.counts() }
      case 'OPEN': {
        const { reason, openings, untilMs } = state
        return { state: 'OPEN', reason, openings, retryAfterMs: Math.max(0, untilMs - now()) }
      }
      case 'HALF_OPEN': {
        const { openings, inFlight, successes } = state
        return { state: 'HALF_OPEN', openings, inFlight: inFlight.size, successes }
      }
    }
  }

  return {
    tryAcquire() {
      const atMs = now()
      const current = advance(atMs)
      switch (current.kind) {
        case 'CLOSED':
          return issue(current, (failed, durationMs) => {
            if (failed === undefined) return
            const reason = current.rule.record(failed, durationMs)
            if (reason) enter(open(reason, 1, now()))
          })
        case 'OPEN':
          return { admitted: false, retryAfterMs: current.untilMs - atMs }
        case 'HALF_OPEN': {
          if (current.inFlight.size + current.successes >= probes) {
            return { admitted: false, retryAfterMs: PROBE_RETRY_MS }
          }
          const probe: Probe = { deadlineMs: atMs + probeTimeoutMs }
          current.inFlight.add(probe)
          return issue(current, (failed) => {
            current.inFlight.delete(probe)
            if (failed) enter(open('PROBE_FAILED', current.openings + 1, now()))
            if (failed === false) current.successes += 1
            if (current.successes === probes) enter(closed())
          })
        }
      }
    },
    state: () => state.kind,
    snapshot,
  }
}
