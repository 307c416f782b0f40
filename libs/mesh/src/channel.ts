import { type Breaker, createBackoff, createBreaker, createRetryBudget } from '@docmesh/resilience'
import {
  type Call,
  type Connection,
  type Method,
  type Next,
  RpcError,
  rpcError,
  sendOver,
} from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'
import type { EndpointSet, Pick } from './endpoint-set.ts'
import { isNeutral, outcomeOf } from './outcome.ts'

export interface ChannelDeps {
  readonly service: string
  readonly endpoints: EndpointSet
  readonly connectionTo: (address: string) => Connection
  /** Resolves when the first state of the mesh is known. */
  readonly synced: Promise<void>
  readonly metrics: Metrics
  readonly logger: Logger
  readonly now: () => number
  readonly random: () => number
}

/** Calls to one service of the mesh: retry( pick → breaker → send ). */
export interface Channel {
  readonly call: Next
  breakers(): ReadonlyMap<MethodClass, Breaker>
}

/** Methods that share a breaker: reads may fail while writes still work, and the reverse. */
export type MethodClass = 'read' | 'write' | 'stream'

const MAX_ATTEMPTS = 3
const SYNC_TIMEOUT_MS = 5_000
const BREAKER_STATES = { CLOSED: 0, HALF_OPEN: 1, OPEN: 2 } as const

const classOf = ({ requestStream, responseStream, idempotency }: Method): MethodClass =>
  requestStream || responseStream ? 'stream' : idempotency === 'safe' ? 'read' : 'write'

export function createChannel(deps: ChannelDeps): Channel {
  const { service, endpoints, connectionTo, synced, metrics, logger, now, random } = deps
  const budget = createRetryBudget({}, { now })
  const retryDelayMs = createBackoff({ initialMs: 25, maxMs: 250, jitter: 0.2 }, random)
  const picks = metrics.counter('docmesh_mesh_picks_total').labels({ service })
  const retries = metrics.counter('docmesh_mesh_retries_total')
  const breakers = new Map<MethodClass, Breaker>()
  let isSynced = false
  void synced.then(() => {
    isSynced = true
  })

  function breakerFor(methodClass: MethodClass): Breaker {
    let breaker = breakers.get(methodClass)
    if (!breaker) {
      const labels = { service, method_class: methodClass }
      const state = metrics.gauge('docmesh_mesh_breaker_state').labels(labels)
      const transitions = metrics.counter('docmesh_mesh_breaker_transitions_total')
      breaker = createBreaker(
        {},
        {
          now,
          random,
          onTransition: (from, { state: to }) => {
            state.set(BREAKER_STATES[to])
            transitions.inc({ ...labels, to: to.toLowerCase() as 'closed' | 'half_open' | 'open' })
            logger.warn({ breaker: labels, from, to }, 'circuit breaker changed')
          },
        },
      )
      breakers.set(methodClass, breaker)
    }
    return breaker
  }

  async function attempt(call: Call, tried: Set<string>): Promise<unknown> {
    const pick = endpoints.pick(tried)
    if (!pick) throw rpcError('NO_ENDPOINT', `No instance of ${service} is in the mesh.`)
    const permit = breakerFor(classOf(call.method)).tryAcquire()
    if (!permit.admitted) {
      pick.done('NONE')
      throw rpcError('CIRCUIT_OPEN', `Calls to ${service} fail too often; the circuit is open.`, {
        retryAfterMs: permit.retryAfterMs,
      })
    }
    picks.inc()
    tried.add(pick.endpoint.instanceId)
    const begun = now()
    try {
      const answer = await begin(connectionTo(pick.endpoint.address), call)
      pick.done('SUCCESS')
      permit.success(now() - begun)
      return answer
    } catch (error) {
      report(error, pick, permit, now() - begun)
      throw error
    }
  }

  /**
   * A broken connection is the ejection's business, and counts for the breaker only when no endpoint is left to choose:
   * both together must not empty the cluster.
   */
  function report(
    error: unknown,
    pick: Pick,
    permit: { failure(ms: number): void; success(ms: number): void; ignore(): void },
    ms: number,
  ): void {
    if (!(error instanceof RpcError)) {
      pick.done('NONE')
      permit.ignore()
      return
    }
    const outcome = outcomeOf(error)
    pick.done(outcome, Math.max(0, error.remote?.pushbackMs ?? 0))
    if (outcome === 'NONE' || (error.remote?.connectionFailed && endpoints.available() > 0)) permit.ignore()
    else if (isNeutral(error)) permit.success(ms)
    else permit.failure(ms)
  }

  function firstState({ deadline, signal = NEVER }: Call): Promise<void> {
    return Promise.race([synced, abortable(Math.min(SYNC_TIMEOUT_MS, deadline - Date.now()), signal)])
  }

  return {
    breakers: () => breakers,
    async call(call) {
      if (!isSynced) await firstState(call)
      budget.deposit()
      const tried = new Set<string>()
      for (let tries = 1; ; tries++) {
        try {
          const answer = await attempt(tries === 1 ? call : withAttempt(call, tries), tried)
          if (tries > 1) retries.inc({ service, outcome: 'success' })
          return answer
        } catch (error) {
          if (tries > 1) retries.inc({ service, outcome: 'failure' })
          if (tries === MAX_ATTEMPTS || !mayRetry(call, error)) throw error
          const delayMs = Math.max(retryDelayMs(tries), (error as RpcError).remote?.pushbackMs ?? 0)
          if (Date.now() + delayMs >= call.deadline || call.signal?.aborted) throw error
          if (!budget.tryWithdraw()) {
            retries.inc({ service, outcome: 'refused' })
            throw error
          }
          await abortable(delayMs, call.signal ?? NEVER)
        }
      }
    },
  }
}

const NEVER = new AbortController().signal

const withAttempt = (call: Call, tries: number): Call => ({
  ...call,
  metadata: { ...call.metadata, 'grpc-previous-rpc-attempts': String(tries - 1) },
})

/**
 * Only what the proto calls idempotent is sent twice, or what certainly never left. A reason counts as "never left" only
 * if this process gave it: from a server it tells of a call behind that server. A stream of requests cannot be repeated:
 * somebody has read it.
 */
function mayRetry({ method }: Call, error: unknown): boolean {
  if (!(error instanceof RpcError) || method.requestStream) return false
  const { reason, remote } = error
  if (!remote) return reason === 'NO_ENDPOINT'
  if ((remote.pushbackMs ?? 0) < 0) return false
  return remote.notSent || (method.idempotency !== 'none' && RETRYABLE.has(reason))
}

const RETRYABLE = new Set([
  'NO_ENDPOINT',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'DEPENDENCY_UNAVAILABLE',
  'DATABASE_UNAVAILABLE',
])

/** Sends; a streamed answer counts as begun when its first message is there, and can be retried until then. */
async function begin(connection: Connection, call: Call): Promise<unknown> {
  const answer = await sendOver(connection)(call)
  if (!call.method.responseStream) return answer
  const iterator = (answer as AsyncIterable<unknown>)[Symbol.asyncIterator]()
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
