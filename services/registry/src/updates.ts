import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Member } from './member.ts'

/** What a watcher has to apply: everything, or what changed since the revision that it has. */
export type Update =
  | {
      readonly kind: 'snapshot'
      readonly revision: bigint
      readonly members: readonly Member[]
      readonly policies: readonly TrafficPolicy[]
      readonly policiesPending: boolean
    }
  | {
      readonly kind: 'delta'
      readonly revision: bigint
      readonly changed: readonly Member[]
      readonly removed: readonly string[]
      readonly changedPolicies: readonly TrafficPolicy[]
      /** Services whose policy is the default again. */
      readonly removedPolicies: readonly string[]
    }

/** Services that a watcher wants to hear of; undefined for all. */
export type Filter = readonly string[] | undefined

export interface Content {
  members(): Iterable<Member>
  policies(): Iterable<TrafficPolicy>
  policiesPending(): boolean
}

export interface Updates {
  revision(): bigint
  /** Numbers a change. */
  next(): bigint
  /** Numbers the end of an instance at a service, or (without an id) of the service's policy. */
  bury(service: string, instanceId?: string): bigint
  /** Whatever a watcher has, its next update is everything. */
  forget(): void
  since(epoch: string, revision: bigint, filter?: Filter): Update
}

/** Removals that are remembered for deltas; a watcher that is further behind gets a snapshot. */
const TOMBSTONES = 1_000

/** Different updates that are kept until the next change; watchers that keep up need one per filter. */
const KEPT = 128

/**
 * Numbers the changes and tells what changed since a number. The same question has the same object as its answer until
 * something changes, so that it is made and encoded once for all the watchers that ask.
 */
export function createUpdates(epoch: string, content: Content): Updates {
  const tombstones: {
    readonly service: string
    readonly instanceId: string | undefined
    readonly revision: bigint
  }[] = []
  const kept = new Map<string, Update>()
  let forgotten = 0n
  let revision = 0n

  function next(): bigint {
    kept.clear()
    return ++revision
  }

  function make(from: bigint | undefined, filter: Filter): Update {
    const wanted = filter && new Set(filter)
    const fits = ({ service }: { service: string }): boolean => wanted?.has(service) ?? true
    const members = [...content.members()].filter(fits)
    const policies = [...content.policies()].filter(fits)
    if (from === undefined)
      return { kind: 'snapshot', revision, members, policies, policiesPending: content.policiesPending() }
    const listed = new Set(members.map(({ instanceId }) => instanceId))
    const inForce = new Set(policies.map(({ service }) => service))
    const removed = new Set<string>()
    const removedPolicies = new Set<string>()
    for (const tombstone of tombstones) {
      const { service, instanceId } = tombstone
      if (tombstone.revision <= from || !fits(tombstone)) continue
      if (instanceId === undefined) {
        if (!inForce.has(service)) removedPolicies.add(service)
      } else if (!listed.has(instanceId)) removed.add(instanceId)
    }
    return {
      kind: 'delta',
      revision,
      changed: members.filter((member) => member.revision > from),
      removed: [...removed],
      changedPolicies: policies.filter((policy) => policy.revision > from),
      removedPolicies: [...removedPolicies],
    }
  }

  return {
    revision: () => revision,
    next,
    bury(service, instanceId) {
      tombstones.push({ service, instanceId, revision: next() })
      if (tombstones.length > TOMBSTONES) forgotten = tombstones.shift()?.revision ?? forgotten
      return revision
    },
    forget() {
      forgotten = next()
    },
    since(fromEpoch, fromRevision, filter) {
      const known = fromEpoch === epoch && fromRevision >= forgotten && fromRevision <= revision
      const from = known ? fromRevision : undefined
      const key = `${from} ${filter?.join() ?? '*'}`
      let update = kept.get(key)
      if (!update) {
        update = make(from, filter)
        if (kept.size >= KEPT) kept.clear()
        kept.set(key, update)
      }
      return update
    },
  }
}

/** Nothing for a watcher to do but to remember the revision. */
export const isEmpty = (update: Update): boolean =>
  update.kind === 'delta' &&
  update.changed.length === 0 &&
  update.removed.length === 0 &&
  update.changedPolicies.length === 0 &&
  update.removedPolicies.length === 0
