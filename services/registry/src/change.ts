import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Member } from './member.ts'

export type Departure = 'deregistered' | 'stream_lost' | 'expired' | 'replaced'

/** What happened to the mesh, for logs, metrics, events, other replicas and xDS. `own`: this replica granted the lease. */
export type Change =
  | { readonly kind: 'joined'; readonly member: Member; readonly own: boolean }
  | {
      readonly kind: 'changed'
      readonly member: Member
      readonly previous: Member
      readonly own: boolean
      /** What made it unhealthy; empty for other changes. */
      readonly detail: string
    }
  | { readonly kind: 'left'; readonly member: Member; readonly reason: Departure; readonly own: boolean }
  /** No policy: the service has the default one again. */
  | { readonly kind: 'policy'; readonly service: string; readonly policy: TrafficPolicy | undefined }
  /** The policies are known for the first time; those that there are were told of just before. */
  | { readonly kind: 'policies_read' }
  /** The instances have had time to register again after a start: what is listed now is the mesh. */
  | { readonly kind: 'settled' }
  | {
      readonly kind: 'guard'
      readonly active: boolean
      readonly expired: number
      readonly instances: number
    }
