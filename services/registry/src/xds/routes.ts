import { RouteConfiguration } from '@docmesh/contracts/envoy/config/route/v3/route'
import type {
  HeaderMatcher,
  Route,
  RouteAction,
  RouteMatch,
} from '@docmesh/contracts/envoy/config/route/v3/route_components'
import type { HeaderMatch, RouteRule, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { FAULT_FILTER, faultConfig } from './fault.ts'

/** The cluster of a whole service, or of one version of it. */
export const clusterName = (service: string, version?: string): string =>
  version === undefined ? service : `${service}@${version}`

/**
 * The policy as routes: rules in their order, then the weights, then the whole service. A version that nobody serves gets
 * no calls: its rules are passed over, and its share goes to the other versions.
 */
export function routeConfiguration(
  service: string,
  policy: TrafficPolicy | undefined,
  isServed: (version: string) => boolean,
): RouteConfiguration {
  const hashPolicy = policy?.hash
    ? [{ policySpecifier: { $case: 'header' as const, value: { headerName: policy.hash.header } } }]
    : []
  const route = (match: RouteMatch, clusterSpecifier: RouteAction['clusterSpecifier']): Route => ({
    name: '',
    match,
    action: { $case: 'route', value: { clusterSpecifier, hashPolicy } },
  })
  const rules = (policy?.rules ?? []).filter(({ version }) => isServed(version))
  return RouteConfiguration.fromPartial({
    name: service,
    virtualHosts: [
      {
        name: service,
        domains: ['*'],
        typedPerFilterConfig: policy?.fault ? { [FAULT_FILTER]: faultConfig(policy.fault) } : {},
        routes: [
          ...rules.map((rule) =>
            route(ruleMatch(rule), { $case: 'cluster', value: clusterName(service, rule.version) }),
          ),
          route(EVERYTHING, byWeight(service, policy, isServed)),
        ],
      },
    ],
  })
}

const EVERYTHING: RouteMatch = { pathSpecifier: { $case: 'prefix', value: '' }, headers: [] }

function byWeight(
  service: string,
  policy: TrafficPolicy | undefined,
  isServed: (version: string) => boolean,
): RouteAction['clusterSpecifier'] {
  const shares = (policy?.weights ?? []).filter(({ version, weight }) => weight > 0 && isServed(version))
  if (shares.length === 0) return { $case: 'cluster', value: clusterName(service) }
  return {
    $case: 'weightedClusters',
    value: {
      clusters: shares.map(({ version, weight }) => ({ name: clusterName(service, version), weight })),
      totalWeight: shares.reduce((sum, { weight }) => sum + weight, 0),
    },
  }
}

const ruleMatch = ({ method, headers }: RouteRule): RouteMatch => ({
  pathSpecifier:
    method === '' ? EVERYTHING.pathSpecifier : { $case: 'path', value: `/${method.replace(/^\//, '')}` },
  headers: headers.map(headerMatcher),
})

/** The older matchers: gRPC 1.51 refuses `string_match`. And absence as the inverse of presence, else grpc-js ignores it. */
function headerMatcher({ name, match }: HeaderMatch): HeaderMatcher {
  switch (match?.$case) {
    case 'exact':
      return {
        name,
        headerMatchSpecifier: { $case: 'exactMatch', value: match.value },
        invertMatch: false,
      }
    case 'prefix':
      return {
        name,
        headerMatchSpecifier: { $case: 'prefixMatch', value: match.value },
        invertMatch: false,
      }
    default: // a match without a kind asks for the entry to be there
      return {
        name,
        headerMatchSpecifier: { $case: 'presentMatch', value: true },
        invertMatch: match?.value === false,
      }
  }
}
