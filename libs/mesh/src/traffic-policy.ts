import type { HeaderMatch, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { rendezvousScore, weightedChoice } from '@docmesh/resilience'
import { type Metadata, type Method, msOf } from '@docmesh/rpc'

/** What the policy wants of one call, over all its attempts. */
export interface TrafficRoute {
  readonly version?: string
  /** Calls with the same key go to the same instance. */
  readonly hashKey?: string
  /** Fault: wait before anything is sent. */
  readonly delayMs?: number
  /** Fault: after that, end with this code and send nothing. */
  readonly abortCode?: number
  /** Version that gets a copy. */
  readonly mirrorVersion?: string
}

export interface CompiledPolicy {
  /** Decides for one call. `random` is uniform in [0, 1). */
  route(method: Method, metadata: Metadata, random: () => number): TrafficRoute
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const ANYWHERE: TrafficRoute = {}
const NO_POLICY: CompiledPolicy = { route: () => ANYWHERE }

/**
 * The policy of a service in the form that calls ask: the first rule that matches names the version, else the weights
 * do. Faults are those of gRFC A33, each with its own draw.
 *
 * With a hash header, the weights are drawn by the key too (weighted rendezvous): who comes back meets the same version,
 * and a step of a rollout moves only as many keys as it has to. A call without the header is drawn at random.
 *
 * The registry has checked the policy; what is empty in one from elsewhere matches nothing.
 */
export function compileTrafficPolicy(policy: TrafficPolicy | undefined): CompiledPolicy {
  if (!policy) return NO_POLICY
  const { hash, mirror, fault } = policy
  const rules = policy.rules.map(({ headers, method, version }) => ({
    path: method && `/${method}`,
    headers,
    version,
  }))
  const versions = policy.weights.map(({ version }) => version)
  const weights = policy.weights.map(({ weight }) => weight)
  const delayMs = fault?.delay ? msOf(fault.delay) : 0

  const byRule = (method: Method, metadata: Metadata): string | undefined =>
    rules.find(
      ({ path, headers }) =>
        (!path || path === method.path) && headers.every((header) => matches(header, metadata)),
    )?.version

  const byWeight = (hashKey: string | undefined, random: () => number): string | undefined =>
    versions[hashKey === undefined ? weightedChoice(weights, random()) : stickyChoice(hashKey)]

  function stickyChoice(key: string): number {
    const scores = versions.map((version, index) => rendezvousScore(key, version, weights[index]))
    const best = Math.max(...scores)
    return best > 0 ? scores.indexOf(best) : -1
  }

  return {
    route(method, metadata, random) {
      const draw = (percent: number): boolean => percent > 0 && random() * 100 < percent
      const route: Mutable<TrafficRoute> = {}
      const key = hash && metadata[hash.header]
      if (typeof key === 'string' && key !== '') route.hashKey = key
      const version =
        byRule(method, metadata) ?? (weights.length > 0 ? byWeight(route.hashKey, random) : undefined)
      if (version) route.version = version
      if (mirror && draw(mirror.percent)) route.mirrorVersion = mirror.version
      if (fault && draw(fault.delayPercent)) route.delayMs = delayMs
      if (fault?.abortCode && draw(fault.abortPercent)) route.abortCode = fault.abortCode
      return route
    },
  }
}

function matches({ name, match }: HeaderMatch, metadata: Metadata): boolean {
  const value = metadata[name]
  switch (match?.$case) {
    case 'exact':
      return value === match.value
    case 'prefix':
      return typeof value === 'string' && value.startsWith(match.value)
    case 'present':
      return (value !== undefined) === match.value
    default:
      return false
  }
}
