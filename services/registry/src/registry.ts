import { isDeepStrictEqual } from 'node:util'
import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Change, Departure } from './change.ts'
import { sweepLeases } from './expiry.ts'
import { createExpiryGuard } from './guard.ts'
import { declare, healthOf, type Lease, type LeaseStream, newToken, tokensMatch } from './lease.ts'
import type { Description, Member, State } from './member.ts'
import { createPolicyTable } from './policy-table.ts'
import {
  instanceExists,
  instanceNotFound,
  leaseMismatch,
  staleIncarnation,
  superseded,
  wrongInstance,
} from './refusals.ts'
import { createUpdates, type Filter, type Update } from './updates.ts'
import { createWatchers, type Watchers } from './watchers.ts'

export type { Change } from './change.ts'
export type { Update } from './updates.ts'

export interface RegistryOptions {
  /** Names this life of the memory: revisions of different epochs cannot be compared. */
  readonly epoch: string
  readonly leaseTtlMs: number
  readonly suspectGraceMs: number
  /** An instance whose event loop lags by more is degraded; default 1,000. */
  readonly degradedLagMs?: number
  /** The policies are in a database that has not been read yet; default false: there are none. */
  readonly policiesPending?: boolean
  /** Monotonic milliseconds: leases must not care when somebody sets the clock. */
  readonly monotonic: () => number
  readonly clock: () => Date
}

export interface Grant {
  readonly member: Member
  readonly token: string
}

export interface Heartbeat {
  /** Default: what the instance said last. */
  readonly state?: State | undefined
  /** Lag of its event loop; default: as before. */
  readonly lagMs?: number | undefined
}

export interface Registry
  extends Pick<Watchers, 'watch' | 'settled' | 'acknowledge' | 'acknowledged' | 'whenAcknowledged'> {
  readonly epoch: string
  readonly leaseTtlMs: number
  readonly startedAt: Date
  revision(): bigint
  /**
   * Lists an instance, or what it now says of itself. Another stream takes a lease over with its token, with a higher
   * incarnation, or when it has run out. Throws STALE_INCARNATION; INSTANCE_EXISTS while the holder is connected,
   * LEASE_MISMATCH while it may come back.
   */
  register(description: Description, state: State, stream: LeaseStream | undefined, token?: string): Grant
  /** Extends the lease that a stream holds. Throws INSTANCE_NOT_FOUND or STALE_INCARNATION. */
  heartbeat(stream: LeaseStream, heartbeat?: Heartbeat): Member
  /** Extends a lease without its stream. Throws INSTANCE_NOT_FOUND, STALE_INCARNATION or LEASE_MISMATCH. */
  renew(instanceId: string, incarnation: bigint, token: string): Grant
  /** The stream broke: its instance is suspect until it comes back or the grace has passed. */
  detach(stream: LeaseStream): void
  /** Ends a lease at once; an unknown instance is no error. Throws STALE_INCARNATION or LEASE_MISMATCH. */
  deregister(instanceId: string, incarnation: bigint, token: string): void
  /** Marks an instance, for the rest of its life, and tells it. Throws INSTANCE_NOT_FOUND. */
  drain(instanceId: string, graceMs?: number): Member
  setHealth(
    instanceId: string,
    incarnation: bigint,
    health: 'healthy' | 'unhealthy',
    responseTimeMs: number,
    detail?: string,
  ): void
  /** A lease that another replica granted and told us of. One of our own for the same process is worth more. */
  adoptRemote(replica: string, member: Member, ttlMs: number): void
  /** The replica that granted the lease has ended it. */
  dropRemote(replica: string, instanceId: string, incarnation: bigint, reason?: Departure): void
  /** All policies that there are. What differs from those known gets a revision. */
  replacePolicies(all: readonly TrafficPolicy[]): void
  /** Delists what is past its time. */
  sweep(): void
  members(): readonly Member[]
  /** Those whose lease this replica granted. */
  ownMembers(): readonly Member[]
  policies(): readonly TrafficPolicy[]
  policiesPending(): boolean
  /** Leases do not run out yet, because this replica has just started. */
  quarantine(): boolean
  /** Leases do not run out now, because too many would. */
  guarded(): boolean
  updateSince(epoch: string, revision: bigint, services?: Filter): Update
  onChange(listener: (change: Change) => void): () => void
  /** Open watches. */
  watchers(): number
  /** Ends all watches. That streams end from now on, and nothing is heard, is no news of the instances. */
  close(): void
}

/** Instances that left by themselves and are remembered for it. */
const DEPARTED = 1_000

/** Every instance has registered again by then: their back-off ends at 2 s ± 20 %. */
const SETTLE_MS = 3_000

/**
 * The registry's memory. Every change gets the next revision. A lease belongs to the stream that it was granted on and
 * to whoever has its token; what runs out is delisted by `sweep`.
 */
export function createRegistry({
  epoch,
  leaseTtlMs,
  suspectGraceMs,
  degradedLagMs = 1_000,
  policiesPending = false,
  monotonic,
  clock,
}: RegistryOptions): Registry {
  const leases = new Map<string, Lease>()
  const held = new WeakMap<LeaseStream, Lease>()
  /** Incarnations that deregistered here: what other replicas still tell of them is late. */
  const departed = new Map<string, bigint>()
  const listeners = new Set<(change: Change) => void>()
  const startedAt = clock()
  const bornAt = monotonic()
  const guard = createExpiryGuard({ windowMs: leaseTtlMs })
  let closed = false
  const members = (): Member[] => [...leases.values()].map(({ member }) => member)
  const updates = createUpdates(epoch, {
    members,
    policies: () => policies.all(),
    policiesPending: () => policies.pending(),
  })
  const watchers = createWatchers(epoch, updates)
  const policies = createPolicyTable({ updates, announce, pending: policiesPending })
  const quarantine = (): boolean => monotonic() < bornAt + leaseTtlMs

  function announce(change: Change): void {
    for (const listener of listeners) listener(change)
    watchers.wake()
  }

  const isOwn = ({ origin }: Lease): boolean => origin === undefined

  /** What is said of a listed instance, with the next revision if that is news. */
  function update(lease: Lease, fields: Partial<Member>, detail = ''): Member {
    const { member: previous } = lease
    lease.member = { ...previous, ...fields, health: healthOf(lease) }
    if (!isNews(previous, lease.member)) return lease.member
    if (previous.service !== lease.member.service) updates.bury(previous.service, previous.instanceId)
    lease.member = { ...lease.member, revision: updates.next() }
    announce({ kind: 'changed', member: lease.member, previous, own: isOwn(lease), detail })
    return lease.member
  }

  /** In place of the lease of an older process of the same id, if there is one. */
  function list(lease: Lease, older: Lease | undefined): Member {
    const { service, instanceId, incarnation } = lease.member
    leases.set(instanceId, lease)
    if (older && older.member.service !== service) updates.bury(older.member.service, instanceId)
    lease.member = { ...lease.member, health: healthOf(lease), revision: updates.next() }
    older?.stream?.end?.(staleIncarnation(instanceId, incarnation))
    if (older) announce({ kind: 'left', member: older.member, reason: 'replaced', own: isOwn(older) })
    announce({ kind: 'joined', member: lease.member, own: isOwn(lease) })
    return lease.member
  }

  function remove(lease: Lease, reason: Departure): void {
    const { member } = lease
    leases.delete(member.instanceId)
    updates.bury(member.service, member.instanceId)
    announce({ kind: 'left', member, reason, own: isOwn(lease) })
  }

  /** The lease of this process, or of one that it may replace. */
  function leaseOf(instanceId: string, incarnation?: bigint): Lease | undefined {
    const lease = leases.get(instanceId)
    if (lease && incarnation !== undefined && incarnation < lease.member.incarnation)
      throw staleIncarnation(instanceId, lease.member.incarnation)
    return lease
  }

  function extend(lease: Lease, fields: Partial<Member>): Member {
    lease.expiresAt = monotonic() + leaseTtlMs
    lease.streamLost = false
    return update(lease, { ...fields, state: lease.declared, renewedAt: clock() })
  }

  return {
    epoch,
    leaseTtlMs,
    startedAt,
    revision: updates.revision,
    register(description, state, stream, token = '') {
      const { instanceId, incarnation } = description
      const holds = stream && held.get(stream)?.member.instanceId
      if (holds !== undefined && holds !== instanceId) throw wrongInstance(holds)
      const known = leaseOf(instanceId, incarnation)
      if (known?.member.incarnation === incarnation) {
        const isHolder = (stream && known.stream === stream) || tokensMatch(known.token, token)
        // One that has run out is kept for its callers, not for its holder, who may never have got the token.
        if (isOwn(known) && !isHolder && known.expiresAt > monotonic())
          throw known.stream ? instanceExists(instanceId) : leaseMismatch(instanceId)
        if (known.stream !== stream) known.stream?.end?.(superseded())
        Object.assign(known, { origin: undefined, token: isHolder ? known.token : newToken(), stream })
        known.declared = declare(known, state)
        if (stream) held.set(stream, known)
        if (known.drainOrder && state !== 'draining') stream?.drain?.(known.drainOrder.graceMs)
        return { member: extend(known, description), token: known.token }
      }
      const now = clock()
      const lease: Lease = {
        stream,
        origin: undefined,
        token: newToken(),
        declared: state,
        checked: 'unknown',
        lagging: false,
        streamLost: false,
        drainOrder: undefined,
        expiresAt: monotonic() + leaseTtlMs,
        member: {
          ...description,
          state,
          health: 'unknown',
          responseTimeMs: undefined,
          registeredAt: now,
          renewedAt: now,
          revision: 0n,
        },
      }
      if (stream) held.set(stream, lease)
      return { member: list(lease, known), token: lease.token }
    },
    heartbeat(stream, { state, lagMs } = {}) {
      const lease = held.get(stream)
      if (!lease) throw instanceNotFound('')
      const { instanceId, incarnation } = lease.member
      if (leaseOf(instanceId, incarnation) !== lease || lease.stream !== stream)
        throw instanceNotFound(instanceId)
      lease.declared = declare(lease, state ?? lease.declared)
      if (lagMs !== undefined) lease.lagging = lagMs > degradedLagMs
      return extend(lease, {})
    },
    renew(instanceId, incarnation, token) {
      const lease = leaseOf(instanceId, incarnation)
      if (lease?.member.incarnation !== incarnation || !isOwn(lease)) throw instanceNotFound(instanceId)
      if (!tokensMatch(lease.token, token)) throw leaseMismatch(instanceId)
      return { member: extend(lease, {}), token: lease.token }
    },
    detach(stream) {
      const lease = held.get(stream)
      if (closed || !lease || lease.stream !== stream || leases.get(lease.member.instanceId) !== lease) return
      lease.stream = undefined
      lease.streamLost = true
      lease.expiresAt = Math.min(lease.expiresAt, monotonic() + suspectGraceMs)
      update(lease, { state: 'suspect' })
    },
    deregister(instanceId, incarnation, token) {
      const lease = leaseOf(instanceId, incarnation)
      if (!lease) return
      if (!tokensMatch(lease.token, token)) throw leaseMismatch(instanceId)
      remove(lease, 'deregistered')
      departed.delete(instanceId) // so that it is the newest
      departed.set(instanceId, lease.member.incarnation)
      const [oldest] = departed.keys()
      if (departed.size > DEPARTED && oldest !== undefined) departed.delete(oldest)
    },
    drain(instanceId, graceMs) {
      const lease = leaseOf(instanceId)
      if (!lease) throw instanceNotFound(instanceId)
      lease.declared = 'draining'
      lease.drainOrder = { graceMs }
      lease.stream?.drain?.(graceMs)
      return update(lease, { state: 'draining' })
    },
    setHealth(instanceId, incarnation, health, responseTimeMs, detail = '') {
      const lease = leases.get(instanceId)
      if (lease?.member.incarnation !== incarnation) return
      lease.checked = health
      update(lease, { responseTimeMs }, detail)
    },
    adoptRemote(replica, member, ttlMs) {
      const { instanceId, incarnation, state, health } = member
      const known = leases.get(instanceId)
      if (known ? known.member.incarnation > incarnation : (departed.get(instanceId) ?? -1n) >= incarnation)
        return
      const expiresAt = monotonic() + ttlMs
      const streamLost = state === 'suspect'
      const lagging = health === 'degraded'
      if (known?.member.incarnation === incarnation) {
        if (isOwn(known)) return
        const declared = streamLost ? known.declared : declare(known, state)
        Object.assign(known, { origin: replica, expiresAt, streamLost, lagging, declared })
        const { responseTimeMs, registeredAt, revision } = known.member
        update(known, {
          ...member,
          state: streamLost ? state : declared,
          responseTimeMs,
          registeredAt,
          revision,
        })
        return
      }
      const lease: Lease = {
        member,
        origin: replica,
        token: '',
        stream: undefined,
        declared: streamLost ? 'serving' : state,
        checked: lagging ? 'healthy' : health,
        lagging,
        streamLost,
        drainOrder: undefined,
        expiresAt,
      }
      list(lease, known)
    },
    dropRemote(replica, instanceId, incarnation, reason = 'deregistered') {
      const lease = leases.get(instanceId)
      if (lease?.origin === replica && lease.member.incarnation === incarnation) remove(lease, reason)
    },
    replacePolicies: policies.replace,
    sweep() {
      if (closed) return
      const now = monotonic()
      const before = guard.active()
      const { lapsed, delisted } = sweepLeases(leases, { now, quarantine: quarantine(), guard })
      const instances = leases.size
      for (const lease of lapsed) if (!lease.streamLost) update(lease, { state: 'suspect' })
      for (const lease of delisted) remove(lease, lease.streamLost ? 'stream_lost' : 'expired')
      if (guard.active() !== before)
        announce({
          kind: 'guard',
          active: guard.active(),
          expired: lapsed.length + delisted.length,
          instances,
        })
      if (!watchers.settled() && now >= bornAt + SETTLE_MS) {
        watchers.settle()
        announce({ kind: 'settled' })
      }
    },
    members,
    ownMembers: () => [...leases.values()].filter(isOwn).map(({ member }) => member),
    policies: policies.all,
    policiesPending: policies.pending,
    quarantine,
    guarded: guard.active,
    updateSince: updates.since,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    ...watchers,
    watchers: watchers.count,
    close() {
      closed = true
      watchers.close()
    },
  }
}

/** Whether a watcher would see the difference: times that pass are none. */
function isNews(before: Member, after: Member): boolean {
  const { renewedAt, responseTimeMs, revision } = before
  return !isDeepStrictEqual(before, { ...after, renewedAt, responseTimeMs, revision })
}
