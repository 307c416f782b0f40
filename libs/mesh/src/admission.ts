import { type BreakerOptions, checkRange, createAdaptiveThrottle, type Permit } from '@docmesh/resilience'
import { RpcError, rpcError } from '@docmesh/rpc'
import { type Breakers, type BreakersDeps, createBreakers, type MethodClass } from './breakers.ts'
import { isRefusal, outcomeOf } from './outcome.ts'

/** What a caller allows itself towards one service: the breakers of its method classes and one throttle. */
export interface Admission {
  /** The right to make one attempt, or why not: CIRCUIT_OPEN or THROTTLED. A permit is reported, or ignored if nothing was sent. */
  admit(methodClass: MethodClass): Permit | RpcError
  /** How the attempt ended; `error` is `undefined` for an answer. */
  report(permit: Permit, error: unknown, durationMs: number, methodName?: string): void
  readonly breakers: Breakers
}

export interface AdmissionOptions {
  /** What opens a breaker, and for how long. */
  readonly breaker?: BreakerOptions
  /** Time after which a call counts as slow, by the name of its method: `GetDocument`. Default: `breaker`'s for all. */
  readonly slowCallMs?: Readonly<Record<string, number>>
}

export interface AdmissionDeps extends BreakersDeps {
  /** Endpoints that could be chosen now. */
  readonly available: () => number
}

const DAY_MS = 86_400_000
/** A throttle forgets in steps of a second: sooner than that, asking again cannot help. */
const THROTTLE_RETRY_MS = 1_000

/**
 * Who judges what, so that no failure is punished twice:
 *
 * - **Refusals** (RESOURCE_EXHAUSTED) tell the throttle that the service has too much to do. Nothing else does: a late
 *   answer, a broken connection or an outage (UNAVAILABLE) is no refusal: held against the service, it would cost the
 *   first calls after its recovery. What the breaker refuses does not reach the throttle, and the other way round.
 * - **Failures** that the service answered count for the breaker; what the caller has to act on is a success.
 * - **Broken connections** are the ejection's: they count for the breaker only when no endpoint is left to choose. An
 *   ejection takes away the endpoint, the breaker all of them; while the ejection still has endpoints to spare, the
 *   breaker must not empty the cluster for the same reason.
 */
export function createAdmission(
  { breaker = {}, slowCallMs = {} }: AdmissionOptions,
  deps: AdmissionDeps,
): Admission {
  const { service, available, now, random } = deps
  const { trip = { kind: 'RATE' } } = breaker
  const commonSlowMs = (trip.kind === 'RATE' ? trip.slowCallMs : undefined) ?? Infinity
  checkRange(slowCallMs, 1, DAY_MS)
  // Methods of one class share a breaker and differ in what is slow: it is told of times in units of that.
  const breakers = createBreakers(
    { ...breaker, trip: trip.kind === 'RATE' ? { ...trip, slowCallMs: 1 } : trip },
    deps,
  )
  const throttle = createAdaptiveThrottle({}, { now, random })

  return {
    breakers,
    admit(methodClass) {
      const permit = breakers.of(methodClass).tryAcquire()
      if (!permit.admitted)
        return rpcError('CIRCUIT_OPEN', `Calls to ${service} fail too often; the circuit is open.`, {
          retryAfterMs: permit.retryAfterMs,
        })
      if (throttle.admit()) return permit
      permit.ignore()
      return rpcError('THROTTLED', `${service} refuses too many calls; this one was not sent.`, {
        retryAfterMs: THROTTLE_RETRY_MS,
      })
    },
    report(permit, error, durationMs, methodName = '') {
      const slowness = durationMs / (slowCallMs[methodName] ?? commonSlowMs)
      if (error === undefined) {
        throttle.accepted()
        permit.success(slowness)
        return
      }
      const outcome = error instanceof RpcError ? outcomeOf(error) : 'NONE'
      if (isRefusal(error)) throttle.refused()
      else if (outcome === 'SUCCESS' || outcome === 'ERROR') throttle.accepted()
      if (outcome === 'SUCCESS') permit.success(slowness)
      else if (outcome === 'NONE' || (isBrokenConnection(error) && available() > 0)) permit.ignore()
      else permit.failure(slowness)
    },
  }
}

const isBrokenConnection = (error: unknown): boolean =>
  error instanceof RpcError && error.remote?.connectionFailed === true
