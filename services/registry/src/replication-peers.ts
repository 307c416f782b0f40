import type { Member } from './member.ts'
import type { Said } from './replication-message.ts'

/** The part of the registry that takes what other replicas say. */
export interface RemoteLeases {
  adoptRemote(replica: string, member: Member, ttlMs: number): void
  dropRemote(replica: string, instanceId: string, incarnation: bigint): void
}

interface Peer {
  revision: bigint
  heardAt: number
  /** What it said last, by instance id. */
  leases: Map<string, { readonly incarnation: bigint; readonly suspect: boolean }>
}

export interface Peers {
  /** Takes what a replica says. `ttlMs` is how long it holds when nothing more is heard. */
  hear(said: Said, ttlMs: number): void
  /** Replicas that were heard of within one lease time. */
  count(): number
  /** Forgets replicas that are long gone. */
  sweep(): void
}

/** A replica that was cut off for less is corrected in what it had said before; one that restarts has another epoch. */
const FORGET_MS = 3_600_000

/**
 * What the other replicas said, so that what one of them no longer says can be told from what it never said. Anti-entropy
 * (Demers et al., "Epidemic algorithms for replicated database maintenance", 1987): changes are rumours, which may be
 * lost; the whole state, which comes at an interval, corrects what is wrong.
 */
export function createPeers({
  registry,
  leaseTtlMs,
  monotonic,
}: {
  registry: RemoteLeases
  leaseTtlMs: number
  monotonic: () => number
}): Peers {
  const peers = new Map<string, Peer>()
  const isSilentFor = (ms: number, { heardAt }: Peer): boolean => heardAt + ms <= monotonic()

  /**
   * Another replica holds a lease of the same process, and is heard: it says everything every third of the lease time. The
   * stream to one replica can break while the instance is well.
   */
  function isHeldElsewhere(by: Peer, instanceId: string, incarnation: bigint): boolean {
    for (const peer of peers.values()) {
      if (peer === by || isSilentFor(leaseTtlMs / 2, peer)) continue
      const lease = peer.leases.get(instanceId)
      if (lease?.incarnation === incarnation && !lease.suspect) return true
    }
    return false
  }

  /** The last that spoke of it may be one that has let it go before. */
  function drop(instanceId: string, incarnation: bigint): void {
    for (const [replica, { leases }] of peers)
      if (leases.get(instanceId)?.incarnation !== incarnation)
        registry.dropRemote(replica, instanceId, incarnation)
  }

  return {
    hear(said, ttlMs) {
      const { replica, revision } = said
      const peer = peers.get(replica) ?? { revision: 0n, heardAt: 0, leases: new Map() }
      if (revision < peer.revision) return // a warm copy from before what was heard
      peers.set(replica, Object.assign(peer, { revision, heardAt: monotonic() + ttlMs - leaseTtlMs }))
      const present = said.kind === 'all' ? said.members : said.changed
      const gone = said.kind === 'all' ? new Set(peer.leases.keys()) : new Set(said.removed)
      for (const member of present) {
        const { instanceId, incarnation } = member
        const suspect = member.state === 'suspect'
        gone.delete(instanceId)
        peer.leases.set(instanceId, { incarnation, suspect })
        if (!suspect || !isHeldElsewhere(peer, instanceId, incarnation))
          registry.adoptRemote(replica, member, ttlMs)
      }
      for (const instanceId of gone) {
        const lease = peer.leases.get(instanceId)
        if (!lease) continue
        peer.leases.delete(instanceId)
        if (!isHeldElsewhere(peer, instanceId, lease.incarnation)) drop(instanceId, lease.incarnation)
      }
    },
    count: () => [...peers.values()].filter((peer) => !isSilentFor(leaseTtlMs, peer)).length,
    sweep() {
      for (const [replica, peer] of peers) if (isSilentFor(FORGET_MS, peer)) peers.delete(replica)
    },
  }
}
