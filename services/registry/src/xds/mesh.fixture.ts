import { Cluster } from '@docmesh/contracts/envoy/config/cluster/v3/cluster'
import { ClusterLoadAssignment } from '@docmesh/contracts/envoy/config/endpoint/v3/endpoint'
import { Listener } from '@docmesh/contracts/envoy/config/listener/v3/listener'
import { RouteConfiguration } from '@docmesh/contracts/envoy/config/route/v3/route'
import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Member } from '../member.ts'
import type { Kind } from './kinds.ts'
import type { MeshSource } from './source.ts'

export const member = (instanceId: string, fields: Partial<Member> = {}): Member => ({
  service: 'document',
  instanceId,
  incarnation: 1n,
  address: '127.0.0.1:7401',
  adminAddress: '',
  version: '1.0.0',
  zone: '',
  grpcServices: [],
  dependencies: [],
  capabilities: [],
  weight: 0,
  labels: {},
  state: 'serving',
  health: 'healthy',
  responseTimeMs: undefined,
  registeredAt: new Date(0),
  renewedAt: new Date(0),
  revision: 1n,
  ...fields,
})

export interface ScriptedMesh extends MeshSource {
  settled(): boolean
  policiesPending(): boolean
  /** Replaces what is given, and tells of it. */
  set(state: {
    members?: readonly Member[]
    policies?: readonly Parameters<typeof TrafficPolicy.fromPartial>[0][]
    settled?: boolean
    policiesPending?: boolean
  }): void
}

/** A mesh in which happens what the test says. */
export function scriptedMesh(initial: Parameters<ScriptedMesh['set']>[0] = {}): ScriptedMesh {
  const listeners = new Set<() => void>()
  let members: readonly Member[] = []
  let policies: readonly TrafficPolicy[] = []
  let settled = true
  let policiesPending = false
  let revision = 0n
  const mesh: ScriptedMesh = {
    members: () => members,
    policies: () => policies,
    settled: () => settled,
    policiesPending: () => policiesPending,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    set(state) {
      revision++
      members = state.members?.map((each) => ({ ...each, revision })) ?? members
      policies = state.policies?.map((each) => TrafficPolicy.fromPartial({ ...each, revision })) ?? policies
      settled = state.settled ?? settled
      policiesPending = state.policiesPending ?? policiesPending
      for (const listener of listeners) listener()
    },
  }
  mesh.set(initial)
  return mesh
}

export const nameIn = (kind: Kind, bytes: Uint8Array): string =>
  kind === 'endpoint'
    ? ClusterLoadAssignment.decode(bytes).clusterName
    : { cluster: Cluster, listener: Listener, route: RouteConfiguration }[kind].decode(bytes).name
