import type { Instance, WatchResponse } from '@docmesh/contracts/registry/v1/registry'

/** The mesh as one watcher knows it, and where to resume. */
export interface MeshState {
  readonly epoch: string
  readonly revision: bigint
  readonly instances: ReadonlyMap<string, Instance>
}

export const EMPTY_MESH: MeshState = { epoch: '', revision: 0n, instances: new Map() }

export function applyUpdate(state: MeshState, { epoch, revision, update }: WatchResponse): MeshState {
  const instances = new Map(update?.$case === 'snapshot' ? [] : state.instances)
  const changed =
    update?.$case === 'snapshot' ? update.value.instances : (update?.value.changedInstances ?? [])
  for (const instance of changed) {
    if (instance.registration) instances.set(instance.registration.instanceId, instance)
  }
  if (update?.$case === 'delta') for (const id of update.value.removedInstanceIds) instances.delete(id)
  return { epoch, revision, instances }
}
