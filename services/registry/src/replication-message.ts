// What replicas tell each other: the messages of a watch, whose epoch names the replica. Lease tokens have no field there.
import {
  type Instance,
  InstanceHealth,
  InstanceState,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import { msOf } from '@docmesh/rpc'
import type { Health, Member, State } from './member.ts'
import { descriptionFrom, updateMessage } from './wire.ts'

/** A replica's own leases, all of them or what changed. */
export type Said = { readonly replica: string; readonly revision: bigint } & (
  | { readonly kind: 'all'; readonly members: readonly Member[] }
  | {
      readonly kind: 'changes'
      readonly changed: readonly Member[]
      /** Instance ids. */
      readonly removed: readonly string[]
    }
)

export function encodeSaid(said: Said): Buffer {
  const { replica, revision } = said
  const update =
    said.kind === 'all'
      ? ({ kind: 'snapshot', members: said.members, policies: [], policiesPending: false } as const)
      : ({
          kind: 'delta',
          changed: said.changed,
          removed: said.removed,
          changedPolicies: [],
          removedPolicies: [],
        } as const)
  return Buffer.from(WatchResponse.encode(updateMessage(replica, { revision, ...update })).finish())
}

/** @throws when the bytes are no such message, or one that a replica would not say. */
export function decodeSaid(bytes: Uint8Array): Said {
  const { epoch: replica, revision, update } = WatchResponse.decode(bytes)
  if (replica === '' || revision < 0n || !update) throw new Error('not a message of a replica')
  if (update.$case === 'snapshot')
    return { replica, revision, kind: 'all', members: update.value.instances.map(memberFrom) }
  const { changedInstances, removedInstanceIds: removed } = update.value
  return { replica, revision, kind: 'changes', changed: changedInstances.map(memberFrom), removed }
}

const STATES: Partial<Record<InstanceState, State>> = {
  [InstanceState.STARTING]: 'starting',
  [InstanceState.SERVING]: 'serving',
  [InstanceState.SUSPECT]: 'suspect',
  [InstanceState.DRAINING]: 'draining',
}

const HEALTH: Partial<Record<InstanceHealth, Health>> = {
  [InstanceHealth.UNKNOWN]: 'unknown',
  [InstanceHealth.HEALTHY]: 'healthy',
  [InstanceHealth.DEGRADED]: 'degraded',
  [InstanceHealth.UNHEALTHY]: 'unhealthy',
}

function memberFrom(instance: Instance): Member {
  const { registration, responseTime, registeredAt, renewedAt, revision } = instance
  const state = STATES[instance.state]
  const health = HEALTH[instance.health]
  if (!registration || !state || !health || !registeredAt || !renewedAt) throw new Error('not an instance')
  const responseTimeMs = responseTime && msOf(responseTime)
  return {
    ...descriptionFrom(registration),
    state,
    health,
    responseTimeMs,
    registeredAt,
    renewedAt,
    revision,
  }
}
