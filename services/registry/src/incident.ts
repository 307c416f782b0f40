export type IncidentName =
  | 'endpoint_ejected'
  | 'endpoint_readmitted'
  | 'circuit_opened'
  | 'circuit_half_opened'
  | 'circuit_closed'
  | 'panic_started'
  | 'panic_ended'

/** A change of state in a caller, as it told of it. */
export interface Incident {
  readonly kind: IncidentName
  readonly at: Date
  readonly callerService: string
  readonly callerInstanceId: string
  readonly service: string
  readonly instanceId: string
  readonly methodClass: string
  readonly reason: string
}
