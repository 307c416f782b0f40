import { createBackoff } from './backoff.ts'
import { checkRange, DAY_MS } from './range.ts'
import { createSuccessRing, type SuccessRing } from './success-ring.ts'

/**
 * Why a call failed, as far as ejection cares.
 * - `ERROR`: the endpoint answered, with a failure.
 * - `TRANSPORT`: no answer: UNAVAILABLE, DEADLINE_EXCEEDED, or INTERNAL from the transport.
 * - `REFUSED`: nobody listens there.
 */
export type FailureKind = 'ERROR' | 'TRANSPORT' | 'REFUSED'

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
  /** A probe that has not reported after this time has failed. Default 30 s, 1 ms to one day. */
  readonly probeTimeoutMs?: number
}

export type EjectionDeps = {
  readonly now: () => number
  readonly random: () => number
  /** Whether the cluster can spare one more endpoint: `ejected < maxEjected(endpoints)`. */
  readonly mayEject: () => boolean
  readonly onTransition?: (from: EjectionSnapshot['state'], to: EjectionSnapshot['state']) => void
}

type State =
  | { readonly kind: 'AVAILABLE'; readonly ring: SuccessRing; transportFailures: number }
  | { readonly kind: 'EJECTED'; readonly ejections: number; readonly untilMs: number }
  | { readonly kind: 'PROBING'; readonly ejections: number; readonly deadlineMs: number }

/**
 * Ejection of one endpoint from load balancing, from the outcomes of the calls that were sent to it anyway.
 *
 * Two rules with different eyes. Transport failures in a row see an endpoint that is gone, within five calls however
 * much success preceded (a refused connection within one). The exact ratio sees one that fails half the time, which a
 * run never does. Either one ejects, if `mayEject` says that the cluster can spare it; if not, the evidence stays and
 * the next failure asks again. After the ejection exactly one call probes: success readmits with a clean record,
 * failure ejects for twice as long (Envoy outlier detection; Linkerd failure accrual with its probing back-off).
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
    probeTimeoutMs = 30_000,
  }: EjectionOptions,
  { now, random, mayEject, onTransition }: EjectionDeps,
): Ejection {
  checkRange({ consecutiveFailures }, 1, 1_000, { whole: true })
  checkRange({ failureRatio }, 0.01, 1)
  checkRange({ minimumCalls }, 1, 10_000, { whole: true })
  checkRange({ ejectMs, probeTimeoutMs }, 1, DAY_MS)
  checkRange({ maxEjectMs }, ejectMs, DAY_MS)
  const ejectFor = createBackoff({ initialMs: ejectMs, maxMs: maxEjectMs, jitter }, random)
  let state: State = available()

  function available(): State {
    return { kind: 'AVAILABLE', ring: createSuccessRing({}, { now }), transportFailures: 0 }
  }

  function enter(next: State): State {
    const from = state.kind
    state = next
    onTransition?.(from, next.kind)
    return next
  }

  function eject(ejections: number, atMs: number): State {
    return enter({ kind: 'EJECTED', ejections, untilMs: atMs + ejectFor(ejections) })
  }

  function advance(atMs: number): State {
    if (state.kind === 'PROBING' && atMs >= state.deadlineMs) return eject(state.ejections + 1, atMs)
    return state
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
      state.transportFailures = 0
    },
    failure(epoch, kind) {
      if (epoch !== state) return
      if (state.kind === 'PROBING') eject(state.ejections + 1, now())
      if (state.kind !== 'AVAILABLE') return
      const { ring } = state
      ring.failure()
      state.transportFailures = kind === 'ERROR' ? 0 : state.transportFailures + 1
      const gone = kind === 'REFUSED' || state.transportFailures >= consecutiveFailures
      const failing = ring.calls() >= minimumCalls && ring.failureRatio() >= failureRatio
      if ((gone || failing) && mayEject()) eject(1, now())
    },
    cancel(epoch) {
      if (epoch !== state || state.kind !== 'PROBING') return
      enter({ kind: 'EJECTED', ejections: state.ejections, untilMs: now() })
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
