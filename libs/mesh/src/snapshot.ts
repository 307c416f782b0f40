import type { Instance, TrafficPolicy, WatchResponse } from '@docmesh/contracts/registry/v1/registry'

/** The mesh as one watcher knows it, and where to resume. */
export interface MeshState {
  readonly epoch: string
  readonly revision: bigint
  readonly instances: ReadonlyMap<string, Instance>
  /** Policies that are not the default, by service. */
  readonly policies: ReadonlyMap<string, TrafficPolicy>
  /** When it was written, if it comes from disk and no registry has answered since. */
  readonly savedAt?: Date
}

export const EMPTY_MESH: MeshState = { epoch: '', revision: 0n, instances: new Map(), policies: new Map() }

export function applyUpdate(state: MeshState, { epoch, revision, update }: WatchResponse): MeshState {
  const isSnapshot = update?.$case === 'snapshot'
  const instances = new Map(isSnapshot ? [] : state.instances)
  for (const instance of isSnapshot ? update.value.instances : (update?.value.changedInstances ?? []))
    if (instance.registration) instances.set(instance.registration.instanceId, instance)
  const policies = new Map(isSnapshot && !update.value.policiesPending ? [] : state.policies)
  for (const policy of isSnapshot ? update.value.policies : (update?.value.changedPolicies ?? []))
    policies.set(policy.service, policy)
  if (update?.$case === 'delta') {
    for (const id of update.value.removedInstanceIds) instances.delete(id)
    for (const service of update.value.removedPolicies) policies.delete(service)
  }
  return { epoch, revision, instances, policies }
}
