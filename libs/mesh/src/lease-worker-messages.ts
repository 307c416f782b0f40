import type { InstanceState, MeshIncident, Registration } from '@docmesh/contracts/registry/v1/registry'
import type { Code } from '@docmesh/rpc'

/** What the thread that keeps the leases begins with. */
export interface LeaseWorkerData {
  readonly targets: readonly string[]
  readonly registration: Registration
  /** The sign of life of the main thread. */
  readonly beat: SharedArrayBuffer
  /** Lease tokens by target, and whether there may be leases without one: of a thread before this one. */
  readonly tokens: ReadonlyMap<string, string>
  readonly mayBeListed: boolean
}

export type ToLeaseWorker =
  | { readonly kind: 'state'; readonly state: InstanceState }
  | { readonly kind: 'incident'; readonly incident: MeshIncident }
  | { readonly kind: 'leave' }

export type FromLeaseWorker =
  | { readonly kind: 'granted'; readonly target: string; readonly token: string }
  | { readonly kind: 'confirmed'; readonly state: InstanceState }
  | { readonly kind: 'drain'; readonly graceMs: number | undefined }
  | { readonly kind: 'replaced'; readonly code: Code; readonly reason: string; readonly message: string }
  | {
      readonly kind: 'log'
      readonly level: 'debug' | 'warn'
      readonly fields: object
      readonly message: string
    }
  | { readonly kind: 'left' }
