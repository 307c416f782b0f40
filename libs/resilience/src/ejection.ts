import { createBackoff } from './backoff.ts'
import type { HostCounts, SweepReason } from './outlier-sweep.ts'
import { checkRange, DAY_MS } from './range.ts'
import { createSuccessRing, type SuccessRing } from './success-ring.ts'

/**
 * Why a call failed, as far as ejection cares.
 * - `ERROR`: the endpoint answered, with a failure.
 * - `TRANSPORT`: no answer: UNAVAILABLE, DEADLINE_EXCEEDED, or INTERNAL from the transport.
 * - `REFUSED`: nobody listens there.
 */
export type FailureKind = 'ERROR' | 'TRANSPORT' | 'REFUSED'

/** Rule 1, rule 2, a probe that failed or never reported, or one of rule 3's algorithms. */
export type EjectionReason = 'consecutive_failures' | 'success_ratio' | 'probe_failed' | SweepReason

/** Opaque: which period of the endpoint's life a call belongs to. `undefined` for a call that is no evidence. */
export type CallEpoch = object | undefined

export type EjectionSnapshot =
  | { readonly state: 'AVAILABLE'; readonly calls: number; readonly failureRatio: number }
  | { readonly state: 'EJECTED'; readonly ejections: number; readonly retryAfterMs: number }
  | { readonly state: 'PROBING'; readonly ejections: number }

export type Ejection = {
  /** Whether a picker may choose the endpoint: available, or ejected with its time up and no probe under way. */
  ready(): boolean
  /** Begins a call. On an ejected endpoint that is ready, this call becomes the probe. */
  start(): CallEpoch
  success(epoch: CallEpoch): void
  failure(epoch: CallEpoch, kind: FailureKind): void
  /** The call ended without evidence; a cancelled probe leaves its place to the next one. */
  cancel(epoch: CallEpoch): void
  /** Calls counted since the last take, or since the endpoint became available if that is later. */
  takeCounts(): HostCounts
  /** Rule 3: the sweep found an outlier. Returns whether it is ejected: it was available, and can be spared. */
  sweepEject(reason: SweepReason): boolean
  /** Rule 3: the sweep found nothing. While available, the next sweep ejection gets shorter by one step. */
  sweepPass(): void
  state(): EjectionSnapshot['state']
  snapshot(): EjectionSnapshot
}

export type EjectionOptions = {
  /** Rule 1: transport failures in a row that eject. Default 5, 1 to 1,000. */
  readonly consecutiveFailures?: number
  /** Rule 2: share of failures over the success ring that ejects. Default 0.5, 0.01 to 1. */
  readonly failureRatio?: number
  /** Rule 2: calls needed in the ring. Default 10, 1 to 10,000. */
  readonly minimumCalls?: number
  /** Mean length of the first ejection, doubled while probes fail. Default 1 s, 1 ms to one day. */
  readonly ejectMs?: number
  /** Ceiling of that mean. Default 60 s, `ejectMs` to one day. */
  readonly maxEjectMs?: number
  /** Spread around the mean: 0.5 means ±50 %. Default 0.5, 0 to 1. */
  readonly jitter?: number
  /** Rule 3: length of the first sweep ejection, and what each further one adds. Default 30 s, 1 ms to one day. */
  readonly baseSweepMs?: number
  /** Ceiling of a sweep ejection. Default 300 s, `baseSweepMs` to one day. */
  readonly maxSweepMs?: number
  /** A probe that has not reported after this time has failed. Default 30 s, 1 ms to one day. */
  readonly probeTimeoutMs?: number
}

export type EjectionDeps = {
  readonly now: () => number
  readonly random: () => number
  /** Whether the cluster can spare one more endpoint: `ejected < maxEjected(endpoints)`. */
  readonly mayEject: () => boolean
  /** Called after each change of state. `reason` is given when, and only when, it is an ejection. */
  readonly onTransition?: (
    from: EjectionSnapshot['state'],
    to: EjectionSnapshot['state'],
    reason: EjectionReason | undefined,
  ) => void
}

type State =
  | {
      readonly kind: 'AVAILABLE'
      readonly ring: SuccessRing
      transportFailures: number
      successes: number
      failures: number
    }
  | { readonly kind: 'EJECTED'; readonly ejections: number; readonly untilMs: number }
  | { readonly kind: 'PROBING'; readonly ejections: number; readonly deadlineMs: number }

/**
 * Ejection of one endpoint from load balancing, from the outcomes of the calls that were sent to it anyway.
 *
 * Three rules with different eyes. Transport failures in a row see an endpoint that is gone, within five calls however
 * much success preceded (a refused connection within one). The exact ratio sees one that fails half the time, which a
 * run never does. The sweep sees one that is worse than its siblings (`findOutliers`); it compares endpoints, so their
 * owner runs it, takes the counts and brings the verdict. Each one ejects, if `mayEject` says that the cluster can
 * spare the endpoint; if not, the next failure or sweep asks again. After the ejection exactly one call probes:
 * success readmits with a clean record, failure ejects for twice as long (Envoy outlier detection; Linkerd failure
 * accrual with its probing back-off).
 *
 * A sweep ejection lasts `min(maxSweepMs, baseSweepMs × multiplier)`. The multiplier outlives readmission: it grows with
 * each sweep ejection and falls by one in each sweep that passes an available endpoint (gRFC A50).
 *
 * As in the breaker, each state owns its evidence: `start` hands out the state object, and an outcome that comes back
 * with another one was started before an ejection, and is ignored. Calls sent to an ejected endpoint in a panic carry
 * `undefined`: they are no probe and no evidence. Nothing is allocated per call.
 *
 * @throws RangeError if an option is out of range.
 */
export function createEjection(
  {
    consecutiveFailures = 5,
    failureRatio = 0.5,
    minimumCalls = 10,
    ejectMs = 1_000,
    maxEjectMs = 60_000,
    jitter = 0.5,
    baseSweepMs = 30_000,
    maxSweepMs = 300_000,
    probeTimeoutMs = 30_000,
  }: EjectionOptions,
  { now, random, mayEject, onTransition }: EjectionDeps,
): Ejection {
  checkRange({ consecutiveFailures }, 1, 1_000, { whole: true })
  checkRange({ failureRatio }, 0.01, 1)
  checkRange({ minimumCalls }, 1, 10_000, { whole: true })
  checkRange({ ejectMs, baseSweepMs, probeTimeoutMs }, 1, DAY_MS)
  checkRange({ maxEjectMs }, ejectMs, DAY_MS)
  checkRange({ maxSweepMs }, baseSweepMs, DAY_MS)
  const ejectFor = createBackoff({ initialMs: ejectMs, maxMs: maxEjectMs, jitter }, random)
  let state: State = available()
  let sweepMultiplier = 0

  function available(): State {
    const ring = createSuccessRing({}, { now })
    return { kind: 'AVAILABLE', ring, transportFailures: 0, successes: 0, failures: 0 }
  }

  function enter(next: State, reason?: EjectionReason): State {
    const from = state.kind
    state = next
    onTransition?.(from, next.kind, reason)
    return next
  }

  function eject(reason: EjectionReason, ejections: number, atMs: number): State {
    return enter({ kind: 'EJECTED', ejections, untilMs: atMs + ejectFor(ejections) }, reason)
  }

  function advance(atMs: number): State {
    if (state.kind !== 'PROBING' || atMs < state.deadlineMs) return state
    return eject('probe_failed', state.ejections + 1, atMs)
  }

  return {
    ready() {
      if (state.kind === 'AVAILABLE') return true
      const atMs = now()
      const current = advance(atMs)
      return current.kind === 'EJECTED' && atMs >= current.untilMs
    },
    start() {
      if (state.kind === 'AVAILABLE') return state
      const atMs = now()
      const current = advance(atMs)
      if (current.kind !== 'EJECTED' || atMs < current.untilMs) return undefined
      return enter({ kind: 'PROBING', ejections: current.ejections, deadlineMs: atMs + probeTimeoutMs })
    },
    success(epoch) {
      if (epoch !== state) return
      if (state.kind === 'PROBING') enter(available())
      if (state.kind !== 'AVAILABLE') return
      state.ring.success()
      state.successes += 1
      state.transportFailures = 0
    },
    failure(epoch, kind) {
      if (epoch !== state) return
      if (state.kind === 'PROBING') eject('probe_failed', state.ejections + 1, now())
      if (state.kind !== 'AVAILABLE') return
      const { ring } = state
      ring.failure()
      state.failures += 1
      state.transportFailures = kind === 'ERROR' ? 0 : state.transportFailures + 1
      const gone = kind === 'REFUSED' || state.transportFailures >= consecutiveFailures
      const failing = ring.calls() >= minimumCalls && ring.failureRatio() >= failureRatio
      if (!(gone || failing) || !mayEject()) return
      eject(gone ? 'consecutive_failures' : 'success_ratio', 1, now())
    },
    cancel(epoch) {
      if (epoch !== state || state.kind !== 'PROBING') return
      enter({ kind: 'EJECTED', ejections: state.ejections, untilMs: now() })
    },
    takeCounts() {
      if (state.kind !== 'AVAILABLE') return { successes: 0, failures: 0 }
      const { successes, failures } = state
      state.successes = 0
      state.failures = 0
      return { successes, failures }
    },
    sweepEject(reason) {
      if (state.kind !== 'AVAILABLE' || !mayEject()) return false
      sweepMultiplier += 1
      const untilMs = now() + Math.min(maxSweepMs, baseSweepMs * sweepMultiplier)
      enter({ kind: 'EJECTED', ejections: 1, untilMs }, reason)
      return true
    },
    sweepPass() {
      if (state.kind === 'AVAILABLE') sweepMultiplier = Math.max(0, sweepMultiplier - 1)
    },
    state: () => state.kind,
    snapshot() {
      switch (state.kind) {
        case 'AVAILABLE':
          return { state: 'AVAILABLE', calls: state.ring.calls(), failureRatio: state.ring.failureRatio() }
        case 'EJECTED':
          return {
            state: 'EJECTED',
            ejections: state.ejections,
            retryAfterMs: Math.max(0, state.untilMs - now()),
          }
        case 'PROBING':
          return { state: 'PROBING', ejections: state.ejections }
      }
    },
  }
}
