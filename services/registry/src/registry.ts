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
  /** Extends a lease. Throws INSTANCE_NOT_FOUND or STALE_INCARNATION. */
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
  watch(fromEpoch: string, fromRevision: bigint, signal: AbortSignal): AsyncIterable<Update>
  watchers(): number
  /** Ends all watches, so that watchers go to another replica. */
  close(): void
}

interface Lease {
  member: Member
  session: object | undefined
  expiresAt: number
}

/** Removals that are remembered for deltas; a watcher that is further behind gets a snapshot. */
const TOMBSTONES = 1_000

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
      return state && state !== lease.member.state ? commit(lease, { state }, 'changed') : lease.member
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
        if (lease.expiresAt <= now) remove(lease, lease.session ? 'expired' : 'stream_lost')
      }
    },
    members: () => [...leases.values()].map(({ member }) => member),
    updateSince,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async *watch(fromEpoch, fromRevision, signal) {
      let update = updateSince(fromEpoch, fromRevision)
      while (!closed && !signal.aborted) {
        yield update
        if (update.revision === revision) await nextChange(wakers, signal)
        update = updateSince(epoch, update.revision)
      }
    },
    watchers: () => wakers.size,
    close() {
      closed = true
      for (const wake of [...wakers]) wake()
    },
  }
}

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
