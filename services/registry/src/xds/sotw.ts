import type { Node } from '@docmesh/contracts/envoy/config/core/v3/base'
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from '@docmesh/contracts/envoy/service/discovery/v3/discovery'
import type { Snapshot } from './catalog.ts'
import { isWhole, type Kind, kindOf, TYPE_URLS } from './kinds.ts'
import { missingService, type Resource } from './resources.ts'
import { resourceFor, type Session, type SessionOptions, shortened, tellable } from './session.ts'
import {
  addNames,
  createSubscription,
  newsFor,
  noteAnswer,
  noteMissing,
  noteSent,
  removeName,
  resendEndpoints,
  type Subscription,
  setWildcard,
} from './subscription.ts'

interface Contents {
  readonly resources: readonly Resource[]
  /** Those of them that the client does not have. */
  readonly due: readonly Resource[]
  /** What it is told does not exist, by being left out. */
  readonly missing: readonly string[]
}

/**
 * The state-of-the-world variant of the xDS protocol: every request names all that the client wants of a type. Listeners
 * and clusters are always sent together, so one that is gone stays in the responses until all that could refer to it has
 * been sent anew.
 */
export function createSotwSession({
  now,
  onVerdict,
}: SessionOptions): Session<DiscoveryRequest, DiscoveryResponse> {
  const subscriptions = new Map<Kind, Subscription>()
  let node: Node | undefined
  let nonces = 0
  /** True when the client had a state before this stream. */
  let resumed = false

  function respond(
    kind: Kind,
    snapshot: Snapshot,
    { resources, due, missing }: Contents,
    subscription: Subscription,
  ): DiscoveryResponse {
    const nonce = String(++nonces)
    noteSent(subscription, { nonce, sent: due, missing, at: now() })
    return {
      versionInfo: snapshot.versions[kind],
      typeUrl: TYPE_URLS[kind],
      nonce,
      resources: resources.map(({ any }) => any),
    }
  }

  function additions(
    kind: Kind,
    subscription: Subscription,
    snapshot: Snapshot,
  ): DiscoveryResponse | undefined {
    const all = snapshot.resources[kind]
    const find = finder(kind, snapshot, node, subscription, subscriptions.get('listener'))
    const { due, gone, absent } = newsFor(subscription, all, find)
    if (!snapshot.settled && absent.length > 0 && isWhole(kind)) return undefined // leaving it out would say: it is gone
    if (!isWhole(kind)) {
      if (snapshot.settled) noteMissing(subscription, absent, '', now())
      return due.length > 0
        ? respond(kind, snapshot, { resources: due, due, missing: [] }, subscription)
        : undefined
    }
    if (due.length === 0 && !subscription.asked) return undefined
    if (kind === 'cluster') resendEndpoints(due, subscription, subscriptions.get('endpoint'))
    return respond(
      kind,
      snapshot,
      {
        due,
        resources: [...wanted(subscription, all, find), ...keep(subscription, gone)],
        missing: absent.filter((name) => !gone.includes(name)),
      },
      subscription,
    )
  }

  /** What a client has named stays until it names it no more: its routes may lead there a moment longer. */
  function removals(
    kind: Kind,
    subscription: Subscription,
    snapshot: Snapshot,
  ): DiscoveryResponse | undefined {
    const all = snapshot.resources[kind]
    const find = finder(kind, snapshot, node, subscription, subscriptions.get('listener'))
    const { gone } = newsFor(subscription, all, find)
    const isNamed = (name: string): boolean => subscription.names.has(name)
    const missing = gone.filter((name) => !isNamed(name))
    if (missing.length === 0) return undefined
    const resources = [...wanted(subscription, all, find), ...keep(subscription, gone.filter(isNamed))]
    return respond(kind, snapshot, { resources, due: [], missing }, subscription)
  }

  return {
    variant: 'sotw',
    subscriptions,
    node: () => node,
    receive(request) {
      node ??= request.node && shortened(request.node)
      const kind = kindOf(request.typeUrl)
      if (!kind) return // a type that the mesh has nothing of
      const subscription = subscriptions.get(kind) ?? createSubscription()
      subscriptions.set(kind, subscription)
      const { responseNonce, errorDetail } = request
      if (subscription.nonce === '') resumed ||= request.versionInfo !== ''
      else if (responseNonce !== '' && responseNonce !== subscription.nonce) return // written before it read the last response
      if (responseNonce !== '' && responseNonce === subscription.nonce && !subscription.answered) {
        noteAnswer(subscription, errorDetail?.message)
        onVerdict({ kind, nodeId: node?.id ?? '', error: errorDetail?.message })
      }
      setNames(kind, subscription, request.resourceNames)
    },
    next(snapshot) {
      for (const step of [additions, removals]) {
        for (const kind of tellable(snapshot, resumed)) {
          const subscription = subscriptions.get(kind)
          if (!subscription || (step === removals && !isWhole(kind))) continue
          const response = step(kind, subscription, snapshot)
          if (response) return response
        }
      }
      return undefined
    },
  }
}

/** Empty names are the wildcard for a client that has never named one; later they end all subscriptions. */
function setNames(kind: Kind, subscription: Subscription, names: readonly string[]): void {
  const named = new Set(names)
  const wildcard = named.delete('*') || (names.length === 0 && isWhole(kind) && !subscription.everNamed)
  for (const name of subscription.names) if (!named.has(name)) removeName(subscription, name)
  setWildcard(subscription, wildcard)
  subscription.everNamed ||= names.length > 0
  addNames(subscription, named.difference(subscription.names), 'resource_names')
}

/** What a name stands for. A service that the client dials and nobody serves is sent too, to say so at once. */
function finder(
  kind: Kind,
  snapshot: Snapshot,
  node: Node | undefined,
  { held }: Subscription,
  listeners: Subscription | undefined,
): (name: string) => Resource | undefined {
  const { resources, settled } = snapshot
  return (name) => {
    const found = resourceFor(node, snapshot, kind, name)
    if (found || !settled || !listeners?.names.has(name) || resources.listener.has(name)) return found
    const last = held.get(name)?.resource
    return last && !last.exists ? last : missingService(kind, name)
  }
}

const keep = ({ held }: Subscription, names: readonly string[]): Resource[] =>
  names.flatMap((name) => held.get(name)?.resource ?? [])

function wanted(
  { names, wildcard }: Subscription,
  all: ReadonlyMap<string, Resource>,
  find: (name: string) => Resource | undefined,
): Resource[] {
  return [...(wildcard ? new Set([...all.keys(), ...names]) : names)].flatMap((name) => find(name) ?? [])
}
