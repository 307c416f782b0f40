import type { Node } from '@docmesh/contracts/envoy/config/core/v3/base'
import type { Snapshot } from './catalog.ts'
import { KINDS, type Kind } from './kinds.ts'
import type { Resource } from './resources.ts'
import type { Subscription } from './subscription.ts'

/** One stream of one client: two variants of the protocol, without any I/O. */
export interface Session<Request, Response> {
  readonly variant: Variant
  /** Undefined until the first request. */
  node(): Node | undefined
  readonly subscriptions: ReadonlyMap<Kind, Subscription>
  /** @throws INVALID_REQUEST */
  receive(request: Request): void
  /** The next response; undefined when the client has everything. */
  next(snapshot: Snapshot): Response | undefined
}

export type Variant = 'sotw' | 'delta'

/** A client accepted a response, or refused it. */
export interface Verdict {
  readonly kind: Kind
  readonly nodeId: string
  /** Undefined for an acceptance. */
  readonly error: string | undefined
}

export interface SessionOptions {
  readonly now: () => Date
  readonly onVerdict: (verdict: Verdict) => void
}

const MAX_TEXT = 256

/** Kept as long as the stream lives, so no longer than a name can be. */
export const shortened = ({ id, cluster, locality, userAgentName, userAgentVersionType }: Node): Node => ({
  id: id.slice(0, MAX_TEXT),
  cluster: cluster.slice(0, MAX_TEXT),
  locality: locality && {
    region: locality.region.slice(0, MAX_TEXT),
    zone: locality.zone.slice(0, MAX_TEXT),
    subZone: locality.subZone.slice(0, MAX_TEXT),
  },
  userAgentName: userAgentName.slice(0, MAX_TEXT),
  userAgentVersionType: userAgentVersionType && {
    $case: 'userAgentVersion',
    value: userAgentVersionType.value.slice(0, MAX_TEXT),
  },
})

/**
 * The picker of the hash ring of gRPC 1.50 and 1.51 (C++, Python, Ruby) ends the process on its first call, see
 * https://github.com/grpc/grpc/issues/31766. Such a client gets its calls spread instead, without stickiness.
 */
export const crashesOnRingHash = (node: Node | undefined): boolean =>
  /^C-core 2[89]\./.test(node?.userAgentVersionType?.value ?? '')

/**
 * What a client can be told now. One that had a state before keeps it while the mesh is not known again: hears nothing
 * before the instances are, and of nothing but their endpoints before the policies are.
 */
export function tellable(snapshot: Snapshot, resumed: boolean): readonly Kind[] {
  if (!resumed || snapshot.settled) return KINDS
  return snapshot.instancesSettled ? ['endpoint'] : []
}

/** What a snapshot has for a client, by type and name. */
export function resourceFor(
  node: Node | undefined,
  { resources }: Snapshot,
  kind: Kind,
  name: string,
): Resource | undefined {
  const found = resources[kind].get(name)
  return found?.plain && crashesOnRingHash(node) ? found.plain : found
}
