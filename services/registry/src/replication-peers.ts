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
  /** What it said last: incarnations by instance id. */
  leases: Map<string, bigint>
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

  return {
    hear(said, ttlMs) {
      const { replica, revision } = said
      const peer = peers.get(replica) ?? { revision: 0n, heardAt: 0, leases: new Map() }
      if (revision < peer.revision) return // a warm copy from before what was heard
      peers.set(replica, Object.assign(peer, { revision, heardAt: monotonic() + ttlMs - leaseTtlMs }))
      const present = said.kind === 'all' ? said.members : said.changed
      const gone = said.kind === 'all' ? new Set(peer.leases.keys()) : new Set(said.removed)
      for (const member of present) {
        gone.delete(member.instanceId)
        peer.leases.set(member.instanceId, member.incarnation)
        registry.adoptRemote(replica, member, ttlMs)
      }
      for (const instanceId of gone) {
        const incarnation = peer.leases.get(instanceId)
        if (incarnation === undefined) continue
        peer.leases.delete(instanceId)
        registry.dropRemote(replica, instanceId, incarnation)
      }
    },
    count: () => [...peers.values()].filter((peer) => !isSilentFor(leaseTtlMs, peer)).length,
    sweep() {
      for (const [replica, peer] of peers) if (isSilentFor(FORGET_MS, peer)) peers.delete(replica)
    },
  }
}
