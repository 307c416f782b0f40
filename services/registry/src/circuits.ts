import type { BreakerStatus } from '@docmesh/contracts/registry/v1/registry'
import type { Incident, IncidentName } from './incident.ts'
import type { Registry } from './registry.ts'

export interface Circuits {
  note(incident: Incident): void
  /** Those that are not closed, the oldest first. */
  list(): readonly BreakerStatus[]
}

const STATES: Partial<Record<IncidentName, 'OPEN' | 'HALF_OPEN' | 'CLOSED'>> = {
  circuit_opened: 'OPEN',
  circuit_half_opened: 'HALF_OPEN',
  circuit_closed: 'CLOSED',
}

/** Remembers which circuit breakers their callers said are not closed, at most `limit`; none of callers that left. */
export function createCircuits(registry: Pick<Registry, 'onChange'>, { limit = 1_000 } = {}): Circuits {
  const open = new Map<string, BreakerStatus>()
  registry.onChange((change) => {
    if (change.kind !== 'left') return
    for (const [key, { callerInstanceId }] of open)
      if (callerInstanceId === change.member.instanceId) open.delete(key)
  })
  return {
    note({ kind, at: changedAt, callerService, callerInstanceId, service, methodClass }) {
      const state = STATES[kind]
      if (!state) return
      const key = JSON.stringify([callerInstanceId, service, methodClass])
      open.delete(key)
      if (state === 'CLOSED') return
      open.set(key, { service, methodClass, state, callerService, callerInstanceId, changedAt })
      const [oldest] = open.keys()
      if (open.size > limit && oldest !== undefined) open.delete(oldest)
    },
    list: () => [...open.values()],
  }
}
