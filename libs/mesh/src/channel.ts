import type { Breaker } from '@docmesh/resilience'
import { type Call, type Code, type Connection, type Next, RpcError, rpcError } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'
import { type Admission, type AdmissionOptions, createAdmission } from './admission.ts'
import { createAttempts, type Turn, type Variant } from './attempt.ts'
import type { MethodClass } from './breakers.ts'
import { createDecisionLog, type Decision, type DecisionLog } from './decision-log.ts'
import type { EndpointSet } from './endpoint-set.ts'
import { createHedgeDelays, type HedgeDelays, hedge, isDecisive } from './hedge.ts'
import type { IncidentLog } from './incident.ts'
import { createMirror, type Mirror } from './mirror.ts'
import { createRetries, MAX_ATTEMPTS, type RetryBudget } from './retries.ts'
import type { CompiledPolicy, TrafficRoute } from './traffic-policy.ts'

export type { MethodClass } from './breakers.ts'

export interface ChannelDeps {
  readonly service: string
  readonly endpoints: EndpointSet
  readonly connectionTo: (address: string) => Connection
  /** The traffic policy in force. */
  readonly policy: () => CompiledPolicy
  readonly incidents: IncidentLog
  /** Resolves when the first state of the mesh is known. */
  readonly synced: Promise<void>
  readonly metrics: Metrics
  readonly logger: Logger
  readonly now: () => number
  readonly random: () => number
}

/** What is one for all calls to a service from this process, whatever sends them. */
export interface Sharing {
  readonly admission: Admission
  readonly budget: RetryBudget
  readonly hedgeDelays: HedgeDelays
  readonly mirror: Mirror
  readonly decisions: DecisionLog
  readonly metrics: Metrics
}

/** Calls to one service of the mesh: policy( retry( hedge( breaker → throttle → pick → send ) ) ). */
export interface Channel {
  readonly call: Next
  /** The same, with a second copy of late calls of these methods, by their names in the proto: `GetDocument`. */
  hedging(methods: ReadonlySet<string>): Next
  /** For whoever else sends to this service from this process. */
  readonly sharing: Sharing
  breakers(): ReadonlyMap<MethodClass, Breaker>
  /** Recent attempts and refusals, newest first. */
  decisions(limit: number): readonly Decision[]
}

const SYNC_TIMEOUT_MS = 5_000

/** @throws RangeError if an option is out of range. */
export function createChannel(deps: ChannelDeps, options: AdmissionOptions = {}): Channel {
  const { service, endpoints, policy, synced, metrics, now, random } = deps
  const decisions = createDecisionLog(service)
  const admission = createAdmission(options, { ...deps, available: endpoints.available })
  const attempts = createAttempts({ ...deps, admission, decisions })
  const retries = createRetries({ ...deps, decisions })
  const mirror = createMirror(deps)
  const hedgeDelays = createHedgeDelays(now)
  const retried = metrics.counter('docmesh_mesh_retries_total')
  const hedged = metrics.counter('docmesh_mesh_hedges_total')
  const refused = metrics.counter('docmesh_mesh_refused_total')
  const known = new AbortController()
  let isSynced = false
  void synced.then(() => {
    isSynced = true
    known.abort()
  })

  /** Raced against each call, a promise that may wait for days would keep something of every one. */
  function firstState({ deadline, signal }: Call): Promise<void> {
    const until = signal ? AbortSignal.any([signal, known.signal]) : known.signal
    return abortable(Math.max(0, Math.min(SYNC_TIMEOUT_MS, deadline - Date.now())), until, WORK)
  }

  async function injectFault({ method, deadline, signal = NEVER }: Call, route: TrafficRoute): Promise<void> {
    const { delayMs, abortCode, version = '' } = route
    if (delayMs !== undefined) {
      await abortable(Math.min(delayMs, deadline - Date.now()), signal, WORK)
      if (signal.aborted) throw cancelled()
      if (Date.now() >= deadline)
        throw rpcError('DEADLINE_EXCEEDED', `The traffic policy of ${service} delays the call too long.`)
    }
    if (abortCode === undefined) return
    refused.inc({ service, reason: 'fault_injected' })
    decisions.refused(method, 1, 'fault_injected', abortCode, version)
    // As if the service had answered it, or a handler that makes the call would pass it on as an answer of its own.
    const remote = { method: method.path, connectionFailed: false, notSent: true, pushbackMs: undefined }
    const message = `The traffic policy of ${service} injects this fault.`
    throw new RpcError(abortCode as Code, 'FAULT_INJECTED', message, {}, remote)
  }

  function sendOnce(turn: Turn, variant?: Variant): Promise<unknown> {
    const attempt = attempts.open(turn)
    if (attempt instanceof RpcError) return Promise.reject(attempt)
    if (Date.now() >= turn.call.deadline) {
      attempts.abandon(turn, attempt) // sent, it would be held against the instance and the service
      return Promise.reject(tooLate(service))
    }
    return attempts.send(turn, attempt, variant)
  }

  async function sendHedged(turn: Turn): Promise<unknown> {
    const { method, signal } = turn.call
    const begunAt = now()
    const delayMs = hedgeDelays.delayMs(method)
    const answer = await (delayMs === undefined
      ? sendOnce(turn)
      : hedge({
          first: (stop) => sendOnce(turn, { signal: stop, isHedge: false }),
          second: (stop) => sendCopy(turn, stop),
          delayMs,
          signal,
          decisive: isDecisive,
        }))
    hedgeDelays.record(method, now() - begunAt)
    return answer
  }

  /** The copy goes to another endpoint or nowhere, and is paid for like a retry. */
  function sendCopy(turn: Turn, signal: AbortSignal): Promise<unknown> | undefined {
    const { call, route, tried } = turn
    if (turn.attempts >= MAX_ATTEMPTS) return undefined
    const attempt = attempts.open(turn)
    if (attempt instanceof RpcError) return undefined
    if (tried.has(attempt.pick.endpoint.instanceId)) {
      attempts.abandon(turn, attempt)
      return undefined
    }
    if (!retries.tryWithdraw()) {
      attempts.abandon(turn, attempt)
      hedged.inc({ service, outcome: 'refused' })
      decisions.refused(call.method, attempt.number, 'retry_denied_budget', undefined, route.version ?? '')
      return undefined
    }
    const count = (isFirst: boolean): void => hedged.inc({ service, outcome: isFirst ? 'won' : 'lost' })
    const copy = attempts.send(turn, attempt, { signal, isHedge: true })
    copy.then(
      () => count(!signal.aborted),
      () => count(false),
    )
    return copy
  }

  async function send(call: Call, isHedged: boolean): Promise<unknown> {
    if (!isSynced) await firstState(call)
    const route = policy().route(call.method, call.metadata, random)
    if (route.delayMs !== undefined || route.abortCode !== undefined) await injectFault(call, route)
    if (route.mirrorVersion !== undefined) mirror.send(call, route.mirrorVersion)
    retries.deposit()
    const turn: Turn = { call, route, tried: new Set(), attempts: 0 }
    for (let retry = 0; ; retry++) {
      try {
        const answer = await (isHedged ? sendHedged(turn) : sendOnce(turn))
        if (retry > 0) retried.inc({ service, outcome: 'success' })
        return answer
      } catch (error) {
        if (retry > 0) retried.inc({ service, outcome: 'failure' })
        const delayMs = retries.delayMs(turn, error, retry + 1)
        if (delayMs === undefined) throw error
        if (delayMs > 0) await abortable(delayMs, call.signal ?? NEVER, WORK)
        if (call.signal?.aborted) throw cancelled()
      }
    }
  }

  return {
    call: (call) => send(call, false),
    hedging: (methods) => (call) => send(call, methods.has(call.method.name)),
    sharing: { admission, budget: retries, hedgeDelays, mirror, decisions, metrics },
    breakers: () => admission.breakers.list(),
    decisions: decisions.list,
  }
}

const NEVER = new AbortController().signal
const WORK = { isWork: true }

const tooLate = (service: string): RpcError =>
  rpcError('DEADLINE_EXCEEDED', `The time of the call to ${service} was up before it was sent.`)

const cancelled = (): RpcError => rpcError('CANCELLED', 'The call was cancelled.')
