import { type Instance, InstanceHealth, InstanceState } from '@docmesh/contracts/registry/v1/registry'

/** An instance as the balancer needs it, without anything of the transport. */
export interface Endpoint {
  readonly instanceId: string
  readonly address: string
  readonly version: string
  readonly zone: string
  /** False while the registry advises against it: suspect, unhealthy, or not yet serving. */
  readonly healthy: boolean
  /** True once it takes no new calls at all. */
  readonly draining: boolean
}

export function endpointOf({ registration, state, health }: Instance): Endpoint | undefined {
  if (!registration) return undefined
  const { instanceId, address, version, zone } = registration
  return {
    instanceId,
    address,
    version,
    zone,
    healthy: state === InstanceState.SERVING && health !== InstanceHealth.UNHEALTHY,
    draining: state === InstanceState.DRAINING,
  }
}
