import { type Breaker, type BreakerOptions, type BreakerSnapshot, createBreaker } from '@docmesh/resilience'
import type { Method } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import type { IncidentLog } from './incident.ts'

/** Methods that share a breaker: reads may fail while writes still work, and the reverse. */
export type MethodClass = 'read' | 'write' | 'stream'

export const classOf = ({ requestStream, responseStream, idempotency }: Method): MethodClass =>
  requestStream || responseStream ? 'stream' : idempotency === 'safe' ? 'read' : 'write'

export interface BreakersDeps {
  readonly service: string
  readonly metrics: Metrics
  readonly logger: Logger
  readonly incidents: IncidentLog
  readonly now: () => number
  readonly random: () => number
}

/** The circuit breakers of the calls to one service. */
export interface Breakers {
  of(methodClass: MethodClass): Breaker
  /** Those that a call has needed. */
  list(): ReadonlyMap<MethodClass, Breaker>
}

const STATES = { CLOSED: 0, HALF_OPEN: 1, OPEN: 2 } as const
const INCIDENTS = {
  CLOSED: 'circuit_closed',
  HALF_OPEN: 'circuit_half_opened',
  OPEN: 'circuit_opened',
} as const

/** One breaker per method class. Each change of state is a metric, an incident and a line of the log. */
export function createBreakers(
  options: BreakerOptions,
  { service, metrics, logger, incidents, now, random }: BreakersDeps,
): Breakers {
  const states = metrics.gauge('docmesh_mesh_breaker_state')
  const transitions = metrics.counter('docmesh_mesh_breaker_transitions_total')
  const breakers = new Map<MethodClass, Breaker>()

  function create(methodClass: MethodClass): Breaker {
    const labels = { service, method_class: methodClass }
    const state = states.labels(labels)
    state.set(STATES.CLOSED)
    return createBreaker(options, {
      now,
      random,
      onTransition(from, to) {
        const reason = reasonOf(to)
        state.set(STATES[to.state])
        transitions.inc({ ...labels, to: to.state.toLowerCase() })
        incidents.record({ kind: INCIDENTS[to.state], service, methodClass, reason })
        logger.warn({ breaker: labels, from, to: to.state, reason }, 'circuit breaker changed')
      },
    })
  }

  return {
    of(methodClass) {
      let breaker = breakers.get(methodClass)
      if (!breaker) {
        breaker = create(methodClass)
        breakers.set(methodClass, breaker)
      }
      return breaker
    },
    list: () => breakers,
  }
}

const reasonOf = (to: BreakerSnapshot): string => (to.state === 'OPEN' ? to.reason.toLowerCase() : '')
