import { type Instance, InstanceHealth, InstanceState } from '@docmesh/contracts/registry/v1/registry'

/** An instance as the balancer needs it, without anything of the transport. */
export interface Endpoint {
  readonly instanceId: string
  readonly address: string
  readonly version: string
  /** Failure domain, '' if it did not say. */
  readonly zone: string
  /** Share of calls relative to its peers, 1 to 1000; 100 is one share. */
  readonly weight: number
  /** False while the registry advises against it: suspect, unhealthy, or not yet serving. */
  readonly healthy: boolean
  /** True while it works, but slowly or without something it would like to have. */
  readonly degraded: boolean
  /** True once it takes no new calls at all. */
  readonly draining: boolean
}

/** proto3 cannot tell 0 from absent. */
const DEFAULT_WEIGHT = 100

export function endpointOf({ registration, state, health }: Instance): Endpoint | undefined {
  if (!registration) return undefined
  const { instanceId, address, version, zone, weight } = registration
  return {
    instanceId,
    address,
    version,
    zone,
    weight: weight || DEFAULT_WEIGHT,
    healthy: state === InstanceState.SERVING && health !== InstanceHealth.UNHEALTHY,
    degraded: health === InstanceHealth.DEGRADED,
    draining: state === InstanceState.DRAINING,
  }
}
