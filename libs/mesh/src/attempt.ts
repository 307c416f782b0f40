import type { Permit } from '@docmesh/resilience'
import { type Call, Code, type Connection, codeOfError, RpcError, rpcError, sendOver } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Admission } from './admission.ts'
import { classOf } from './breakers.ts'
import type { DecisionLog, DecisionReason, RefusalReason } from './decision-log.ts'
import type { EndpointSet } from './endpoint-set.ts'
import { outcomeOf } from './outcome.ts'
import type { NoPick, Pick, PickOptions } from './pick.ts'
import type { TrafficRoute } from './traffic-policy.ts'

/** One call over all its attempts. */
export interface Turn {
  readonly call: Call
  readonly route: TrafficRoute
  /** Instances that it was sent to. */
  readonly tried: Set<string>
  /** Attempts begun or refused, hedges included. */
  attempts: number
}

/** The right to send one copy of a call to one endpoint: to be sent or abandoned. */
export interface Attempt {
  readonly number: number
  readonly pick: Pick
  readonly permit: Permit
}

/** In what a copy of a call differs from the call. */
export interface Variant {
  readonly signal: AbortSignal
  readonly isHedge: boolean
}

export interface AttemptDeps {
  readonly service: string
  readonly endpoints: EndpointSet
  readonly connectionTo: (address: string) => Connection
  readonly admission: Admission
  readonly decisions: DecisionLog
  readonly metrics: Metrics
  readonly now: () => number
}

export interface Attempts {
  /** Admits and picks; an error if this process refuses the attempt. */
  open(turn: Turn): Attempt | RpcError
  /** As if it had not been opened. */
  abandon(turn: Turn, attempt: Attempt): void
  /** Sends, and tells all who learn from it how it ended. */
  send(turn: Turn, attempt: Attempt, variant?: Variant): Promise<unknown>
}

export function createAttempts(deps: AttemptDeps): Attempts {
  const { service, endpoints, connectionTo, admission, decisions, metrics, now } = deps
  const picks = metrics.counter('docmesh_mesh_picks_total').labels({ service })
  const refused = metrics.counter('docmesh_mesh_refused_total')

  function refuse({ call, route, attempts }: Turn, reason: RefusalReason, error: RpcError): RpcError {
    refused.inc({ service, reason })
    decisions.refused(call.method, attempts, reason, error.code, route.version ?? '')
    return error
  }

  return {
    open(turn) {
      turn.attempts += 1
      const permit = admission.admit(classOf(turn.call.method))
      if (permit instanceof RpcError)
        return refuse(turn, permit.reason === 'CIRCUIT_OPEN' ? 'circuit_open' : 'throttled', permit)
      const pick = choose(endpoints, turn)
      if (typeof pick !== 'string') return { number: turn.attempts, pick, permit }
      permit.ignore()
      return refuse(turn, pick, noPick(service, pick))
    },
    abandon(turn, { pick, permit }) {
      turn.attempts -= 1
      pick.done('NONE')
      permit.ignore()
    },
    async send(turn, { number, pick, permit }, variant) {
      const { route, tried } = turn
      const { method } = turn.call
      const { endpoint } = pick
      picks.inc()
      tried.add(endpoint.instanceId)
      const reason = variant?.isHedge ? 'hedge' : reasonOf(pick, route)
      const ticket = decisions.began(method, number, reason, pick, route.version ?? '')
      const begunAt = now()
      try {
        const sent = sendOver(connectionTo(endpoint.address))(callOf(turn.call, number, variant))
        const answer = method.responseStream ? await begun(sent) : await sent
        const ms = now() - begunAt
        pick.done('SUCCESS')
        admission.report(permit, undefined, ms, method.name)
        decisions.ended(ticket, Code.OK, ms)
        return answer
      } catch (error) {
        const ms = now() - begunAt
        const known = error instanceof RpcError ? error : undefined
        pick.done(known ? outcomeOf(known) : 'NONE', Math.max(0, known?.remote?.pushbackMs ?? 0))
        admission.report(permit, error, ms, method.name)
        decisions.ended(ticket, codeOfError(error), ms)
        throw error
      }
    },
  }
}

/**
 * The version of the policy, as long as it has an instance that was not tried: an answer of another version is better
 * than none.
 */
function choose(
  endpoints: EndpointSet,
  { call: { method }, route: { version, hashKey }, tried }: Turn,
): Pick | NoPick {
  const options: PickOptions = {
    avoid: tried,
    mayProbe: method.idempotency !== 'none' && !method.requestStream,
    ...(hashKey !== undefined && { hashKey }),
  }
  if (version === undefined) return endpoints.pick(options)
  const pick = endpoints.pick({ ...options, version })
  if (pick === 'saturated') return pick
  if (pick !== 'no_endpoint') {
    if (!tried.has(pick.endpoint.instanceId)) return pick
    pick.done('NONE')
  }
  return endpoints.pick(options)
}

export const reasonOf = ({ reason, endpoint }: Pick, { version }: TrafficRoute): DecisionReason =>
  version !== undefined && version !== endpoint.version ? 'version_missing' : reason

export const noPick = (service: string, reason: NoPick): RpcError =>
  reason === 'no_endpoint'
    ? rpcError('NO_ENDPOINT', `No instance of ${service} is in the mesh.`)
    : rpcError('OVERLOADED', `Every instance of ${service} has as many calls as it may have.`)

function callOf(call: Call, number: number, variant: Variant | undefined): Call {
  if (number === 1 && !variant) return call
  const { metadata, signal } = call
  return {
    ...call,
    metadata: number === 1 ? metadata : { ...metadata, 'grpc-previous-rpc-attempts': String(number - 1) },
    signal: variant?.signal ?? signal,
  }
}

/** A streamed answer counts as begun when its first message is there, and can be retried until then. */
async function begun(answer: Promise<unknown>): Promise<unknown> {
  const iterator = ((await answer) as AsyncIterable<unknown>)[Symbol.asyncIterator]()
  const first = await iterator.next()
  return resume(first, iterator)
}

async function* resume(
  first: IteratorResult<unknown>,
  iterator: AsyncIterator<unknown>,
): AsyncIterable<unknown> {
  try {
    for (let item = first; !item.done; item = await iterator.next()) yield item.value
  } finally {
    await iterator.return?.()
  }
}
