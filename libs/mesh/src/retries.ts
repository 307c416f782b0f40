import { createBackoff, createRetryBudget } from '@docmesh/resilience'
import { type Call, Code, RpcError } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Turn } from './attempt.ts'
import type { DecisionLog, RetryDenial } from './decision-log.ts'

export interface RetriesDeps {
  readonly service: string
  readonly decisions: DecisionLog
  readonly metrics: Metrics
  readonly now: () => number
  readonly random: () => number
}

export interface RetryBudget {
  /** Counts one call, which pays for a part of a retry. */
  deposit(): void
  /** Takes one retry or hedge from the budget; false means: do not send it. */
  tryWithdraw(): boolean
}

export interface Retries extends RetryBudget {
  /** How long to wait before the call is sent again; `undefined` if it must not be. `retry` counts from 1. */
  delayMs(turn: Turn, error: unknown, retry: number): number | undefined
}

/** Attempts of one call, the first one and hedges included. */
export const MAX_ATTEMPTS = 3

/**
 * Whether and when a failed call is sent again: gRFC A6 with the delays of A44, and a budget for the whole service
 * instead of one per method (20 % of the calls and 10 per second).
 */
export function createRetries({ service, decisions, metrics, now, random }: RetriesDeps): Retries {
  const budget = createRetryBudget({}, { now })
  const backoffMs = createBackoff({ initialMs: 25, maxMs: 250, jitter: 0.2 }, random)
  const outcomes = metrics.counter('docmesh_mesh_retries_total')

  function grant(call: Call, verdict: 'retry' | RetryDenial, delayMs: number): 'retry' | RetryDenial {
    if (verdict !== 'retry') return verdict
    if (Date.now() + delayMs >= call.deadline) return 'retry_denied_deadline'
    if (budget.tryWithdraw()) return 'retry'
    outcomes.inc({ service, outcome: 'refused' })
    return 'retry_denied_budget'
  }

  return {
    deposit: budget.deposit,
    tryWithdraw: budget.tryWithdraw,
    delayMs({ call, route, attempts }, error, retry) {
      if (attempts >= MAX_ATTEMPTS || call.signal?.aborted || !(error instanceof RpcError)) return undefined
      const verdict = judge(call, error)
      if (verdict === 'final') return undefined
      // What never left is no sign of load: the next endpoint can have it at once, the first time.
      const ownMs = error.remote?.notSent && retry === 1 ? 0 : backoffMs(retry)
      const delayMs = Math.max(ownMs, error.remote?.pushbackMs ?? 0)
      const granted = grant(call, verdict, delayMs)
      if (granted === 'retry') return delayMs
      decisions.refused(call.method, attempts + 1, granted, error.code, route.version ?? '')
      return undefined
    },
  }
}

/** Failures of an instance that another one may not have. */
const RETRYABLE = new Set([
  'NO_ENDPOINT',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'DEPENDENCY_UNAVAILABLE',
  'DATABASE_UNAVAILABLE',
])

/**
 * Only what the proto calls idempotent is sent twice, or what certainly never left. A reason counts as "never left" only
 * if this process gave it: from a server it tells of a call behind that server. A stream of requests cannot be repeated:
 * somebody has read it.
 */
function judge({ method }: Call, { code, reason, remote }: RpcError): 'retry' | 'final' | RetryDenial {
  if (!remote) return reason === 'NO_ENDPOINT' && !method.requestStream ? 'retry' : 'final'
  const another = remote.connectionFailed || remote.notSent || RETRYABLE.has(reason)
  if (!another || code === Code.CANCELLED) return 'final'
  if ((remote.pushbackMs ?? 0) < 0) return 'retry_denied_pushback'
  const repeatable = remote.notSent || method.idempotency !== 'none'
  return repeatable && !method.requestStream ? 'retry' : 'retry_denied_not_idempotent'
}
