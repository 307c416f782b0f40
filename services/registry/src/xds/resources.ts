import { createHash } from 'node:crypto'
import { Cluster } from '@docmesh/contracts/envoy/config/cluster/v3/cluster'
import { HealthStatus } from '@docmesh/contracts/envoy/config/core/v3/health_check'
import { ClusterLoadAssignment } from '@docmesh/contracts/envoy/config/endpoint/v3/endpoint'
import { Listener } from '@docmesh/contracts/envoy/config/listener/v3/listener'
import { RouteConfiguration } from '@docmesh/contracts/envoy/config/route/v3/route'
import type { Any } from '@docmesh/contracts/google/protobuf/any'
import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { any } from './any.ts'
import { healthOf, type Located, loadAssignment } from './assignment.ts'
import { cluster } from './cluster.ts'
import { type Kind, TYPE_URLS } from './kinds.ts'
import { listener } from './listener.ts'
import { clusterName, routeConfiguration } from './routes.ts'

/** One encoded resource; all streams send the same bytes. */
export interface Resource {
  readonly kind: Kind
  readonly name: string
  /** Hash of the bytes: what does not change keeps its version, on every replica. */
  readonly version: string
  /** False for what only says that nothing has this name. */
  readonly exists: boolean
  /** For clients that a hash ring would crash: see {@link crashesOnRingHash}. */
  readonly plain?: Resource
  readonly any: Any
}

/**
 * The resources of one service: listener and routes by its name, a cluster with its endpoints for all instances, and one
 * for each version that the policy names, or `versions` does. `mirror` is left out: gRPC clients of xDS know no mirroring.
 */
export function resourcesOf(
  service: string,
  located: readonly Located[],
  policy: TrafficPolicy | undefined,
  versions: readonly string[] = [],
): Resource[] {
  const ofPolicy = [...(policy?.weights ?? []), ...(policy?.rules ?? [])].map(({ version }) => version)
  const named = new Set([...ofPolicy, ...versions])
  const isServed = (version: string): boolean =>
    located.some(({ member }) => member.version === version && healthOf(member) === HealthStatus.HEALTHY)
  const listed = located.filter(({ member }) => member.state !== 'starting')
  const groups = [
    { name: clusterName(service), members: listed },
    ...[...named].map((version) => ({
      name: clusterName(service, version),
      members: listed.filter(({ member }) => member.version === version),
    })),
  ]
  return [
    ...groups.flatMap(({ name, members }) => [
      clusterResource(name, members, policy?.hash !== undefined),
      resource('endpoint', name, ClusterLoadAssignment.encode(loadAssignment(name, members)).finish()),
    ]),
    resource(
      'listener',
      service,
      Listener.encode(listener(service, { hasFaults: policy?.fault !== undefined })).finish(),
    ),
    resource(
      'route',
      service,
      RouteConfiguration.encode(routeConfiguration(service, policy, isServed)).finish(),
    ),
  ]
}

/**
 * Says that nobody serves this name: the same resources as of a service without instances, so that calls fail at once and
 * only endpoints change when the first instance comes. In the state-of-the-world protocol a name that is left out can also
 * be one that was not considered yet, which clients believe after 15 s only.
 */
export const missingService = (kind: Kind, name: string): Resource | undefined => {
  const found = resourcesOf(name, [], undefined).find((each) => each.kind === kind)
  return found && { ...found, exists: false }
}

function clusterResource(name: string, members: readonly Located[], hashes: boolean): Resource {
  const endpoints = members.filter(({ member }) => member.state !== 'draining').length
  const encode = (hashes: boolean): Resource =>
    resource('cluster', name, Cluster.encode(cluster(name, { endpoints, hashes })).finish())
  return hashes ? { ...encode(true), plain: encode(false) } : encode(false)
}

const resource = (kind: Kind, name: string, bytes: Uint8Array): Resource => ({
  kind,
  name,
  version: createHash('sha256').update(bytes).digest('base64url').slice(0, 16),
  exists: true,
  any: any(TYPE_URLS[kind], bytes),
})
