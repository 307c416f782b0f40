import {
  checkRange,
  createEjection,
  type EjectionReason,
  type EjectionSnapshot,
  findOutliers,
  maxEjected,
  rendezvousScore,
} from '@docmesh/resilience'
import { type Candidates, candidatesOf, type Pool, poolOf } from './candidates.ts'
import type { Endpoint } from './endpoint.ts'
import { createEndpointChoice } from './endpoint-choice.ts'
import { type Entry, firstImpression, isEjected, isHealthy, isReady, typicalMs } from './endpoint-entry.ts'
import type { NoPick, Pick, PickOptions } from './pick.ts'

export type { NoPick, Outcome, Pick, PickOptions } from './pick.ts'

export interface EndpointSet {
  /** Replaces the endpoints; what is known of those that stay is kept. */
  update(endpoints: readonly Endpoint[]): void
  pick(options?: PickOptions): Pick | NoPick
  /** Endpoints that are well, not ejected and not draining. */
  available(): number
  /**
   * What this client found out by itself (gRFC A17), beside what the registry says. Each connection to an instance is a
   * witness, default one for all; it is healthy when none of them says otherwise.
   */
  setClientHealth(instanceId: string, healthy: boolean, witness?: object): void
  list(): readonly EndpointView[]
  /** Compares the endpoints with each other and ejects those that stand out (gRFC A50); to be called every 10 s. */
  sweep(): void
}

export interface EndpointView {
  readonly endpoint: Endpoint
  readonly state: 'ready' | 'ejected' | 'unhealthy' | 'draining'
  /** False outside this client's subset, where only calls with a key go. */
  readonly inUse: boolean
  readonly estimateMs: number
  readonly pending: number
}

export type EndpointEvent =
  | {
      readonly kind: 'ejected'
      readonly endpoint: Endpoint
      readonly reason: Exclude<EjectionReason, 'probe_failed'>
    }
  | { readonly kind: 'readmitted'; readonly endpoint: Endpoint }
  | { readonly kind: 'panic'; readonly active: boolean }

export interface EndpointSetDeps {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Zone of this client; default '', that of endpoints that name none. */
  readonly zone?: string
  /** Names this client, so that each takes another subset. */
  readonly clientId?: string
  /** Endpoints of one version that this client uses at most. Default 20. */
  readonly subsetSize?: number
  /** Calls under way that an endpoint has at most. Default 1,024. */
  readonly maxPending?: number
  readonly onEvent?: (event: EndpointEvent) => void
}

const ANY: PickOptions = {}
/** A probe that has not reported by then has failed. */
const PROBE_TIMEOUT_MS = 30_000

/**
 * The endpoints of one service and the choice among them. Knows no transport: it hands out endpoints and takes outcomes.
 *
 * What a pick goes by is computed when it changes: who is there, who is well, who is ejected. A pick compares two.
 *
 * Below 50 % available the set is in panic and every endpoint that is not draining is chosen from, healthy or not: a
 * registry or a health check that is wrong must not take the service down.
 *
 * @throws RangeError if an option is out of range.
 */
export function createEndpointSet({
  now,
  random,
  zone = '',
  clientId = '',
  subsetSize = 20,
  maxPending = 1_024,
  onEvent,
}: EndpointSetDeps): EndpointSet {
  checkRange({ subsetSize, maxPending }, 1, 1_000_000, { whole: true })
  const choice = createEndpointChoice({ now, random, maxPending })
  let byId = new Map<string, Entry>()
  /** Those that take new calls. */
  let open: readonly Entry[] = []
  /** By version, `undefined` for all. A version is added when it is first asked for. */
  const pools = new Map<string | undefined, Pool>()
  const candidates = new Map<string | undefined, Candidates>()
  let panic = false

  const canSpareOneOf = (among: readonly Entry[]): boolean =>
    among.filter(isEjected).length < maxEjected(among.length)

  function add(endpoint: Endpoint, peerMs: number | undefined): Entry {
    const ejection = createEjection(
      { probeTimeoutMs: PROBE_TIMEOUT_MS },
      {
        now,
        random,
        // Counted over all, and again over those in use: of 1,000, the 20 in use must not all go.
        mayEject: () =>
          open.length > 1 && canSpareOneOf(open) && canSpareOneOf(open.filter(({ inUse }) => inUse)),
        onTransition: (_, to, reason) => changed(entry, to, reason),
      },
    )
    const entry: Entry = {
      endpoint,
      rank: rendezvousScore(clientId, endpoint.instanceId),
      ejection,
      pending: 0,
      objectors: new Set(),
      inUse: false,
      probeAtMs: 0,
      overdueAtMs: 0,
      ...firstImpression(peerMs, now),
    }
    return entry
  }

  function changed(entry: Entry, to: EjectionSnapshot['state'], reason: EjectionReason | undefined): void {
    const { endpoint, ejection } = entry
    if (byId.get(endpoint.instanceId) !== entry) return
    const snapshot = ejection.snapshot()
    const waitMs = snapshot.state === 'EJECTED' ? snapshot.retryAfterMs : PROBE_TIMEOUT_MS
    entry.probeAtMs = now() + waitMs
    // Not after a probe that was cancelled: who may not probe goes on to wait for the same moment.
    if (reason) entry.overdueAtMs = entry.probeAtMs + waitMs
    if (to === 'AVAILABLE') {
      const peers = [...byId.values()].filter((peer) => peer !== entry)
      Object.assign(entry, firstImpression(typicalMs(peers), now))
    }
    regroup()
    if (to === 'AVAILABLE') onEvent?.({ kind: 'readmitted', endpoint })
    // A probe that fails prolongs the ejection; only its begin is news.
    if (reason && reason !== 'probe_failed') onEvent?.({ kind: 'ejected', endpoint, reason })
  }

  /** Whom to choose from for calls to this version; `undefined` if nobody has it. */
  function candidatesFor(version: string | undefined): Candidates | undefined {
    const known = candidates.get(version)
    if (known || !addPool(version)) return known
    regroup()
    return candidates.get(version)
  }

  function addPool(version: string | undefined): boolean {
    const having = open.filter(({ endpoint }) => version === undefined || endpoint.version === version)
    if (having.length > 0) pools.set(version, poolOf(having, zone))
    return having.length > 0
  }

  function regroup(): void {
    for (const entry of byId.values()) entry.inUse = false
    candidates.clear()
    for (const [version, pool] of pools) {
      const grouped = candidatesOf(pool, subsetSize)
      for (const entry of grouped.everyone.entries) entry.inUse = true
      candidates.set(version, grouped)
    }
    const panics = [...candidates.values()].some((each) => each.panic)
    if (panics === panic) return
    panic = panics
    onEvent?.({ kind: 'panic', active: panic })
  }

  function choose(
    from: Candidates,
    { hashKey, mayProbe = true }: PickOptions,
    avoid?: ReadonlySet<string>,
  ): Pick | undefined {
    if (hashKey !== undefined) return choice.stick(from, hashKey, avoid, mayProbe)
    return choice.probe(from, avoid, mayProbe) ?? choice.spread(from, avoid)
  }

  return {
    update(endpoints) {
      const peerMs = typicalMs([...byId.values()])
      const next = new Map<string, Entry>()
      for (const endpoint of endpoints) {
        const known = byId.get(endpoint.instanceId)
        const entry = known?.endpoint.address === endpoint.address ? known : add(endpoint, peerMs)
        entry.endpoint = endpoint
        next.set(endpoint.instanceId, entry)
      }
      byId = next
      open = [...byId.values()].filter(({ endpoint }) => !endpoint.draining)
      const versions = new Set(pools.keys()).add(undefined)
      pools.clear()
      for (const version of versions) addPool(version)
      regroup()
    },
    pick(options = ANY) {
      const from = candidatesFor(options.version)
      if (!from) return 'no_endpoint'
      return choose(from, options, options.avoid) ?? choose(from, options) ?? 'saturated'
    },
    available: () => open.filter(isReady).length,
    setClientHealth(instanceId, healthy, witness) {
      const entry = byId.get(instanceId)
      if (!entry || entry.objectors.has(witness) === !healthy) return
      if (healthy) entry.objectors.delete(witness)
      else entry.objectors.add(witness)
      regroup()
    },
    sweep() {
      const outliers = findOutliers(open.map(({ ejection }) => ejection.takeCounts()))
      for (const [at, { ejection }] of open.entries()) {
        const reason = outliers[at]
        if (reason) ejection.sweepEject(reason)
        else ejection.sweepPass()
      }
    },
    list: () =>
      [...byId.values()].map((entry) => ({
        endpoint: entry.endpoint,
        state: stateOf(entry),
        inUse: entry.inUse,
        estimateMs: entry.load.estimateMs(),
        pending: entry.pending,
      })),
  }
}

function stateOf(entry: Entry): EndpointView['state'] {
  if (entry.endpoint.draining) return 'draining'
  if (!isHealthy(entry)) return 'unhealthy'
  return isEjected(entry) ? 'ejected' : 'ready'
}
