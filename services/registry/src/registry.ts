import { rpcError } from '@docmesh/rpc'
import type { Description, Health, Member, State } from './member.ts'

export interface RegistryOptions {
  /** Names this life of the memory: revisions of different epochs cannot be compared. */
  readonly epoch: string
  readonly leaseTtlMs: number
  readonly suspectGraceMs: number
  /** Monotonic milliseconds: leases must not care when somebody sets the clock. */
  readonly monotonic: () => number
  readonly clock: () => Date
}

/** What happened to an instance, for logs, metrics and watchers. */
export type Change =
  | { readonly kind: 'joined' | 'changed'; readonly member: Member }
  | {
      readonly kind: 'left'
      readonly member: Member
      readonly reason: 'deregistered' | 'stream_lost' | 'expired'
    }

/** What a watcher has to apply: everything, or what changed since the revision that it has. */
export type Update =
  | { readonly kind: 'snapshot'; readonly revision: bigint; readonly members: readonly Member[] }
  | {
      readonly kind: 'delta'
      readonly revision: bigint
      readonly changed: readonly Member[]
      readonly removed: readonly string[]
    }

export interface Registry {
  readonly epoch: string
  readonly leaseTtlMs: number
  readonly startedAt: Date
  revision(): bigint
  /** Lists an instance, or what it now says of itself. `session` is the stream that holds the lease. Throws STALE_INCARNATION. */
  register(description: Description, state: State, session: object | undefined): Member
  /**
   * Extends a lease; an instance that was suspect is again what it said last. Throws INSTANCE_NOT_FOUND or
   * STALE_INCARNATION.
   */
  renew(instanceId: string, incarnation: bigint, state?: State): Member
  /** The stream broke: its instance is suspect until it comes back or the grace has passed. */
  detach(session: object): void
  /** Ends a lease at once; an unknown instance is no error. Throws STALE_INCARNATION. */
  deregister(instanceId: string, incarnation: bigint): void
  /** Throws INSTANCE_NOT_FOUND. */
  drain(instanceId: string): Member
  setHealth(instanceId: string, incarnation: bigint, health: Health, responseTimeMs: number): void
  /** Delists what is past its time. */
  sweep(): void
  members(): readonly Member[]
  updateSince(epoch: string, revision: bigint): Update
  onChange(listener: (change: Change) => void): () => void
  /**
   * What changed since the given revision, then every change. A watcher that brings the state of another life has to wait
   * while this one is young: what it has is better than a mesh whose instances have not registered again yet.
   */
  watch(fromEpoch: string, fromRevision: bigint, signal: AbortSignal): AsyncIterable<Update>
  /** Open watches. */
  watchers(): number
  /** Ends all watches, so that watchers go to another replica. */
  close(): void
}

interface Lease {
  member: Member
  session: object | undefined
  /** What the instance itself said last. */
  declared: State
  expiresAt: number
}

/** Removals that are remembered for deltas; a watcher that is further behind gets a snapshot. */
const TOMBSTONES = 1_000

/** Every instance has registered again by then: their back-off ends at 2 s ± 20 %. */
const SETTLE_MS = 3_000

/**
 * The registry's memory. Every change gets the next revision; a watcher is sent what changed between the revision that it
 * has and the newest, so one that reads slowly skips the states in between and nothing is queued for it.
 */
export function createRegistry({
  epoch,
  leaseTtlMs,
  suspectGraceMs,
  monotonic,
  clock,
}: RegistryOptions): Registry {
  const leases = new Map<string, Lease>()
  const tombstones: { readonly instanceId: string; readonly revision: bigint }[] = []
  const listeners = new Set<(change: Change) => void>()
  const wakers = new Set<() => void>()
  const startedAt = clock()
  const settledAt = monotonic() + SETTLE_MS
  let settled = false
  let watchers = 0
  let forgotten = 0n
  let revision = 0n
  let closed = false

  function commit(lease: Lease, fields: Partial<Member>, kind: 'joined' | 'changed'): Member {
    lease.member = { ...lease.member, ...fields, revision: ++revision }
    announce({ kind, member: lease.member })
    return lease.member
  }

  function remove({ member }: Lease, reason: 'deregistered' | 'stream_lost' | 'expired'): void {
    leases.delete(member.instanceId)
    tombstones.push({ instanceId: member.instanceId, revision: ++revision })
    if (tombstones.length > TOMBSTONES) forgotten = tombstones.shift()?.revision ?? forgotten
    announce({ kind: 'left', member, reason })
  }

  function announce(change: Change): void {
    for (const listener of listeners) listener(change)
    wakeWatchers()
  }

  function wakeWatchers(): void {
    for (const wake of [...wakers]) wake()
  }

  function leaseOf(instanceId: string, incarnation?: bigint): Lease | undefined {
    const lease = leases.get(instanceId)
    if (lease && incarnation !== undefined && incarnation < lease.member.incarnation) {
      throw rpcError('STALE_INCARNATION', `Instance ${instanceId} is used by a newer process.`, {
        metadata: { incarnation: String(lease.member.incarnation) },
      })
    }
    return lease
  }

  function knownLease(instanceId: string, incarnation?: bigint): Lease {
    const lease = leaseOf(instanceId, incarnation)
    if (lease && (incarnation === undefined || incarnation === lease.member.incarnation)) return lease
    throw rpcError('INSTANCE_NOT_FOUND', `No instance ${instanceId} is registered: register again.`, {
      resource: { type: 'instance', name: instanceId },
    })
  }

  function updateSince(fromEpoch: string, from: bigint): Update {
    const members = [...leases.values()].map(({ member }) => member)
    if (fromEpoch !== epoch || from < forgotten || from > revision)
      return { kind: 'snapshot', revision, members }
    return {
      kind: 'delta',
      revision,
      changed: members.filter((member) => member.revision > from),
      removed: tombstones
        .filter((tombstone) => tombstone.revision > from && !leases.has(tombstone.instanceId))
        .map(({ instanceId }) => instanceId),
    }
  }

  return {
    epoch,
    leaseTtlMs,
    startedAt,
    revision: () => revision,
    register(description, state, session) {
      const known = leaseOf(description.instanceId, description.incarnation)
      const now = clock()
      const fields = { ...description, state, renewedAt: now }
      const same = known?.member.incarnation === description.incarnation
      const lease: Lease = {
        session,
        declared: state,
        expiresAt: monotonic() + leaseTtlMs,
        member: same
          ? known.member
          : { ...fields, registeredAt: now, revision, health: 'unknown', responseTimeMs: undefined },
      }
      leases.set(description.instanceId, lease)
      return commit(lease, fields, known ? 'changed' : 'joined')
    },
    renew(instanceId, incarnation, state) {
      const lease = knownLease(instanceId, incarnation)
      lease.expiresAt = monotonic() + leaseTtlMs
      lease.member = { ...lease.member, renewedAt: clock() } // news for nobody: no revision
      lease.declared = state ?? lease.declared
      return lease.declared === lease.member.state
        ? lease.member
        : commit(lease, { state: lease.declared }, 'changed')
    },
    detach(session) {
      for (const lease of leases.values()) {
        if (lease.session !== session) continue
        lease.session = undefined
        lease.expiresAt = Math.min(lease.expiresAt, monotonic() + suspectGraceMs)
        commit(lease, { state: 'suspect' }, 'changed')
      }
    },
    deregister(instanceId, incarnation) {
      const lease = leaseOf(instanceId, incarnation)
      if (lease) remove(lease, 'deregistered')
    },
    drain(instanceId) {
      const lease = knownLease(instanceId)
      return lease.member.state === 'draining'
        ? lease.member
        : commit(lease, { state: 'draining' }, 'changed')
    },
    setHealth(instanceId, incarnation, health, responseTimeMs) {
      const lease = leases.get(instanceId)
      if (lease?.member.incarnation !== incarnation) return
      if (lease.member.health === health) lease.member = { ...lease.member, responseTimeMs }
      else commit(lease, { health, responseTimeMs }, 'changed')
    },
    sweep() {
      const now = monotonic()
      for (const lease of [...leases.values()]) {
        if (lease.expiresAt <= now)
          remove(lease, lease.member.state === 'suspect' ? 'stream_lost' : 'expired')
      }
      if (!settled && now >= settledAt) {
        settled = true
        wakeWatchers()
      }
    },
    members: () => [...leases.values()].map(({ member }) => member),
    updateSince,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async *watch(fromEpoch, fromRevision, signal) {
      const open = (): boolean => !closed && !signal.aborted
      const isOfAnotherLife = fromEpoch !== '' && fromEpoch !== epoch
      watchers++
      try {
        while (isOfAnotherLife && !settled && open()) await nextChange(wakers, signal)
        let update = updateSince(fromEpoch, fromRevision)
        while (open()) {
          yield update
          while (update.revision === revision && open()) await nextChange(wakers, signal)
          update = updateSince(epoch, update.revision)
        }
      } finally {
        watchers--
      }
    },
    watchers: () => watchers,
    close() {
      closed = true
      wakeWatchers()
    },
  }
}

/** To be asked only while `signal` is not aborted yet. */
function nextChange(wakers: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      wakers.delete(wake)
      signal.removeEventListener('abort', wake)
      resolve()
    }
    wakers.add(wake)
    signal.addEventListener('abort', wake, { once: true })
  })
}
