import type { Node } from '@docmesh/contracts/envoy/config/core/v3/base'
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
} from '@docmesh/contracts/envoy/service/discovery/v3/discovery'
import { invalidRequest } from '@docmesh/rpc'
import type { Snapshot } from './catalog.ts'
import { isWhole, type Kind, kindOf, TYPE_URLS } from './kinds.ts'
import type { Resource } from './resources.ts'
import { resourceFor, type Session, type SessionOptions, shortened, tellable } from './session.ts'
import {
  addNames,
  createSubscription,
  newsFor,
  noteAnswerTo,
  noteSent,
  removeName,
  resendEndpoints,
  type Subscription,
  setWildcard,
} from './subscription.ts'

/** Resources that a client may come back with: those of the wildcard too. */
const MAX_BROUGHT = 10_000

/**
 * The incremental variant of the xDS protocol: requests say what to add to a subscription and what to take from it,
 * responses what has changed and what is gone. A client that comes back tells what it has.
 */
export function createDeltaSession({
  now,
  onVerdict,
}: SessionOptions): Session<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
  const subscriptions = new Map<Kind, Subscription>()
  let node: Node | undefined
  let nonces = 0
  /** True when the client had a state before this stream. */
  let resumed = false

  function open(kind: Kind, request: DeltaDiscoveryRequest): Subscription {
    const subscription = createSubscription()
    subscriptions.set(kind, subscription)
    const versions = Object.entries(request.initialResourceVersions)
    if (versions.length > MAX_BROUGHT) {
      throw invalidRequest([
        { field: 'initial_resource_versions', description: `at most ${MAX_BROUGHT} names` },
      ])
    }
    for (const [name, version] of versions) {
      subscription.held.set(name, {
        version,
        resource: undefined,
        state: 'acked',
        nonce: '',
        at: now(),
        error: '',
      })
    }
    resumed ||= versions.length > 0
    if (isWhole(kind) && request.resourceNamesSubscribe.length === 0) setWildcard(subscription, true)
    return subscription
  }

  function respond(
    kind: Kind,
    snapshot: Snapshot,
    { resources = [], missing = [] }: { resources?: readonly Resource[]; missing?: readonly string[] },
    subscription: Subscription,
  ): DeltaDiscoveryResponse {
    const nonce = String(++nonces)
    noteSent(subscription, { nonce, sent: resources, missing, at: now() })
    return {
      systemVersionInfo: snapshot.versions[kind],
      typeUrl: TYPE_URLS[kind],
      nonce,
      resources: resources.map(({ name, version, any }) => ({ name, version, resource: any })),
      removedResources: [...missing],
    }
  }

  function additions(
    kind: Kind,
    subscription: Subscription,
    snapshot: Snapshot,
  ): DeltaDiscoveryResponse | undefined {
    const { due } = newsFor(subscription, snapshot.resources[kind], (name) =>
      resourceFor(node, snapshot, kind, name),
    )
    const awaited = subscription.asked && subscription.wildcard // a first answer, if only that there is nothing
    if (due.length === 0 && !awaited) return undefined
    if (kind === 'cluster') resendEndpoints(due, subscription, subscriptions.get('endpoint'))
    return respond(kind, snapshot, { resources: due }, subscription)
  }

  function removals(
    kind: Kind,
    subscription: Subscription,
    snapshot: Snapshot,
  ): DeltaDiscoveryResponse | undefined {
    const { gone, absent } = newsFor(subscription, snapshot.resources[kind], (name) =>
      resourceFor(node, snapshot, kind, name),
    )
    const missing = [...new Set([...gone, ...absent])]
    if (missing.length === 0 || !snapshot.settled) return undefined
    return respond(kind, snapshot, { missing }, subscription)
  }

  return {
    variant: 'delta',
    subscriptions,
    node: () => node,
    receive(request) {
      node ??= request.node && shortened(request.node)
      const kind = kindOf(request.typeUrl)
      if (!kind) return // a type that the mesh has nothing of
      const subscription = subscriptions.get(kind) ?? open(kind, request)
      const { responseNonce, errorDetail, resourceNamesSubscribe, resourceNamesUnsubscribe } = request
      if (responseNonce !== '' && noteAnswerTo(subscription, responseNonce, errorDetail?.message))
        onVerdict({ kind, nodeId: node?.id ?? '', error: errorDetail?.message })
      unsubscribe(subscription, resourceNamesUnsubscribe)
      subscribe(subscription, resourceNamesSubscribe)
    },
    next(snapshot) {
      for (const step of [additions, removals]) {
        for (const kind of tellable(snapshot, resumed)) {
          const subscription = subscriptions.get(kind)
          const response = subscription && step(kind, subscription, snapshot)
          if (response) return response
        }
      }
      return undefined
    },
  }
}

function unsubscribe(subscription: Subscription, names: readonly string[]): void {
  for (const name of names) {
    if (name === '*') setWildcard(subscription, false)
    else removeName(subscription, name)
  }
}

/** A name that is subscribed again is answered again, but not one whose version the client has just told. */
function subscribe(subscription: Subscription, names: readonly string[]): void {
  const { held, owed, everNamed } = subscription
  const named = new Set(names)
  if (named.delete('*')) setWildcard(subscription, true)
  const brought = everNamed ? undefined : new Set(held.keys())
  subscription.everNamed = true
  addNames(subscription, named, 'resource_names_subscribe')
  for (const name of brought ?? []) owed.delete(name)
}
