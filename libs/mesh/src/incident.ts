import { checkRange } from '@docmesh/resilience'

export type IncidentKind =
  | 'endpoint_ejected'
  | 'endpoint_readmitted'
  | 'circuit_opened'
  | 'circuit_half_opened'
  | 'circuit_closed'
  | 'panic_started'
  | 'panic_ended'

/** A change of state in this process as a caller. */
export interface Incident {
  readonly at: Date
  readonly kind: IncidentKind
  /** Service that is called. */
  readonly service: string
  /** Empty when it concerns the whole service. */
  readonly instanceId: string
  /** Of a circuit breaker; empty otherwise. */
  readonly methodClass: string
  /** Why, e.g. `consecutive_failures`; empty when there is nothing to say. */
  readonly reason: string
}

export type NewIncident = Pick<Incident, 'kind' | 'service'> &
  Partial<Pick<Incident, 'instanceId' | 'methodClass' | 'reason'>>

export interface IncidentLog {
  record(incident: NewIncident): void
  /** Newest first. */
  list(limit: number): readonly Incident[]
  /** Calls the listener with each new incident; the answer unsubscribes. */
  onRecord(listener: (incident: Incident) => void): () => void
}

/**
 * The last incidents of this process, all services together. `capacity` is 1 to 10,000, default 256; `now` gives epoch
 * milliseconds.
 *
 * @throws RangeError if an option is out of range.
 */
export function createIncidentLog({
  capacity = 256,
  now = Date.now,
}: {
  readonly capacity?: number
  readonly now?: () => number
} = {}): IncidentLog {
  checkRange({ capacity }, 1, 10_000, { whole: true })
  const incidents: Incident[] = []
  const listeners = new Set<(incident: Incident) => void>()
  return {
    record({ kind, service, instanceId = '', methodClass = '', reason = '' }) {
      const incident = { at: new Date(now()), kind, service, instanceId, methodClass, reason }
      incidents.push(incident)
      if (incidents.length > capacity) incidents.shift()
      for (const listener of listeners) listener(incident)
    },
    list: (limit) => incidents.toReversed().slice(0, limit),
    onRecord(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
