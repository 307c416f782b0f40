import { Cluster, Cluster_LbPolicy } from '@docmesh/contracts/envoy/config/cluster/v3/cluster'
import { ClusterLoadAssignment } from '@docmesh/contracts/envoy/config/endpoint/v3/endpoint'
import { Listener } from '@docmesh/contracts/envoy/config/listener/v3/listener'
import { RouteConfiguration } from '@docmesh/contracts/envoy/config/route/v3/route'
import { HTTPFault } from '@docmesh/contracts/envoy/extensions/filters/http/fault/v3/fault'
import { HttpConnectionManager } from '@docmesh/contracts/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager'
import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Member } from '../member.ts'
import type { Kind } from './kinds.ts'
import { member } from './mesh.fixture.ts'
import { type Resource, resourcesOf } from './resources.ts'

const CODECS = {
  cluster: Cluster,
  endpoint: ClusterLoadAssignment,
  listener: Listener,
  route: RouteConfiguration,
}

type Policy = Parameters<typeof TrafficPolicy.fromPartial>[0]

function resources(members: readonly Member[], policy?: Policy): Resource[] {
  const located = members.map((each, at) => ({ member: each, ip: '10.0.0.1', port: 7_000 + at }))
  return resourcesOf('document', located, policy && TrafficPolicy.fromPartial(policy))
}

function pick<K extends Kind>(all: readonly Resource[], kind: K, name = 'document') {
  const found = all.find((each) => each.kind === kind && each.name === name)
  if (!found) throw new Error(`no ${kind} ${name}`)
  return CODECS[kind].decode(found.any.value) as ReturnType<(typeof CODECS)[K]['decode']>
}

const managerOf = (all: readonly Resource[]): HttpConnectionManager =>
  HttpConnectionManager.decode(pick(all, 'listener').apiListener?.apiListener?.value ?? new Uint8Array())

const routesOf = (all: readonly Resource[]) => pick(all, 'route').virtualHosts.flatMap(({ routes }) => routes)

const faultOf = (all: readonly Resource[]): HTTPFault =>
  HTTPFault.decode(pick(all, 'route').virtualHosts[0]?.typedPerFilterConfig.fault?.value ?? new Uint8Array())

describe('a service without a policy', () => {
  const all = resources([member('a'), member('b')])

  it('is one listener, one route configuration, one cluster and its endpoints, all by its name', () => {
    expect(all.map(({ kind, name }) => `${kind} ${name}`).sort()).toEqual([
      'cluster document',
      'endpoint document',
      'listener document',
      'route document',
    ])
  })

  it('has a listener that asks for its routes on the same stream, and ends in the router', () => {
    const { routeSpecifier, httpFilters } = managerOf(all)
    expect(routeSpecifier).toEqual({
      $case: 'rds',
      value: {
        routeConfigName: 'document',
        configSource: { configSourceSpecifier: { $case: 'ads', value: {} }, resourceApiVersion: 2 },
      },
    })
    expect(httpFilters.map(({ configType }) => configType?.value.typeUrl)).toEqual([
      'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
    ])
  })

  it('routes every call to its cluster', () => {
    expect(pick(all, 'route').virtualHosts).toMatchObject([
      {
        domains: ['*'],
        routes: [
          {
            match: { pathSpecifier: { $case: 'prefix', value: '' }, headers: [] },
            action: { value: { clusterSpecifier: { $case: 'cluster', value: 'document' }, hashPolicy: [] } },
          },
        ],
      },
    ])
  })

  it('has a cluster that asks for its endpoints on the same stream, and goes round robin', () => {
    expect(pick(all, 'cluster')).toMatchObject({
      clusterDiscoveryType: { $case: 'type', value: 3 },
      edsClusterConfig: {
        serviceName: 'document',
        edsConfig: { configSourceSpecifier: { $case: 'ads' } },
      },
      lbPolicy: Cluster_LbPolicy.ROUND_ROBIN,
      circuitBreakers: { thresholds: [{ priority: 0, maxRequests: 2_048 }] },
    })
  })
})

describe('outlier detection', () => {
  it.each([
    [0, { successRateMinimumHosts: 2, maxEjectionPercent: 50 }],
    [1, { successRateMinimumHosts: 2, maxEjectionPercent: 50 }],
    [3, { successRateMinimumHosts: 2, maxEjectionPercent: 33 }],
    [9, { successRateMinimumHosts: 5, maxEjectionPercent: 44 }],
    [40, { successRateMinimumHosts: 5, maxEjectionPercent: 30 }],
  ])('sets every field for %i endpoints', (count, expected) => {
    const { outlierDetection } = pick(
      resources(Array.from({ length: count }, (_, at) => member(`m${at}`))),
      'cluster',
    )
    expect(Object.values(outlierDetection ?? {})).not.toContain(undefined)
    expect(outlierDetection).toMatchObject({
      ...expected,
      failurePercentageMinimumHosts: expected.successRateMinimumHosts,
      interval: { seconds: 10n },
      baseEjectionTime: { seconds: 30n },
      maxEjectionTime: { seconds: 300n },
      successRateStdevFactor: 1_900,
      failurePercentageThreshold: 85,
      enforcingFailurePercentage: 100,
    })
  })

  it('lets a client eject at most half of the endpoints, and always one of two or more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), (count) => {
        const { outlierDetection } = pick(
          resources(Array.from({ length: count }, (_, at) => member(`m${at}`))),
          'cluster',
        )
        let ejected = 0 // as gRFC A50: one more while the share is below the percentage
        while ((100 * ejected) / count < (outlierDetection?.maxEjectionPercent ?? 0)) ejected++
        expect(ejected).toBeGreaterThanOrEqual(1)
        expect(ejected).toBeLessThanOrEqual(count / 2)
      }),
    )
  })
})

describe('endpoints', () => {
  const assignment = (members: readonly Member[]) => pick(resources(members), 'endpoint').endpoints

  it.each([
    [{}, 1],
    [{ health: 'unknown' }, 1],
    [{ health: 'degraded' }, 1],
    [{ health: 'unhealthy' }, 2],
    [{ state: 'suspect' }, 2],
    [{ state: 'draining' }, 3],
  ] as const)('tell of %o as health status %i', (fields, status) => {
    expect(assignment([member('a', fields), member('b')])[0]?.lbEndpoints[0]?.healthStatus).toBe(status)
  })

  it('of which none is healthy tell of the suspect ones as unknown, so that there is something left to try', () => {
    const suspect = [
      member('a', { state: 'suspect' }),
      member('b', { state: 'suspect', health: 'unhealthy' }),
    ]
    const others = [member('c', { state: 'draining' }), member('d', { health: 'unhealthy' })]
    const told = assignment([...suspect, ...others]).flatMap(({ lbEndpoints }) => lbEndpoints)
    expect(told.map(({ healthStatus }) => healthStatus)).toEqual([0, 0, 3, 2])
  })

  it('leave out an instance that starts', () => {
    expect(assignment([member('a', { state: 'starting' })])).toEqual([])
  })

  it('come by zone; a zone weighs what its healthy endpoints do, and never nothing', () => {
    const zones = assignment([
      member('a', { zone: 'z2', weight: 0 }),
      member('b', { zone: 'z1', weight: 300 }),
      member('c', { zone: 'z1', weight: 200, state: 'suspect' }),
      member('d', { zone: 'z3', health: 'unhealthy' }),
    ])
    expect(
      zones.map(({ locality, loadBalancingWeight, lbEndpoints }) => [
        locality?.zone,
        loadBalancingWeight,
        lbEndpoints.map((each) => each.loadBalancingWeight),
      ]),
    ).toEqual([
      ['z1', 300, [300, 200]],
      ['z2', 100, [100]],
      ['z3', 1, [100]],
    ])
  })

  it('name an address once: the healthy one, of two equals the newer', () => {
    const at = (id: string, version: string, fields: Partial<Member>) => ({
      member: member(id, { version, ...fields }),
      ip: '10.0.0.1',
      port: 7_401,
    })
    const listed = (...located: ReturnType<typeof at>[]) =>
      pick(resourcesOf('document', located, undefined), 'endpoint').endpoints.flatMap(({ lbEndpoints }) =>
        lbEndpoints.map(({ healthStatus, loadBalancingWeight }) => [healthStatus, loadBalancingWeight]),
      )
    const gone = at('old', '1', { state: 'suspect', weight: 10 })
    const back = at('new', '1', { weight: 20 })
    expect(listed(gone, back)).toEqual([[1, 20]])
    expect(listed(back, gone)).toEqual([[1, 20]])
    const newer = at('newer', '1', { registeredAt: new Date(1), weight: 30 })
    expect(listed(newer, back)).toEqual([[1, 30]])
  })

  it('are the same bytes in whatever order the members come', () => {
    const members = [member('a', { zone: 'x' }), member('b'), member('c', { zone: 'x' })]
    const located = members.map((each, port) => ({ member: each, ip: '10.0.0.1', port }))
    const versions = (list: typeof located) => resourcesOf('document', list, undefined).map((r) => r.version)
    expect(versions(located.toReversed())).toEqual(versions(located))
  })
})

describe('a traffic policy', () => {
  const members = [member('a'), member('b', { version: '2.0.0' })]
  const weights = [
    { version: '1.0.0', weight: 90 },
    { version: '2.0.0', weight: 10 },
  ]

  it('makes a cluster of each version that it names, with the endpoints of that version', () => {
    const all = resources(members, { weights })
    const named = (kind: Kind) => all.filter((each) => each.kind === kind).map(({ name }) => name)
    expect(named('cluster')).toEqual(['document', 'document@1.0.0', 'document@2.0.0'])
    expect(named('endpoint')).toEqual(named('cluster'))
    expect(pick(all, 'endpoint', 'document@2.0.0').endpoints[0]?.lbEndpoints).toHaveLength(1)
    expect(pick(all, 'endpoint').endpoints[0]?.lbEndpoints).toHaveLength(2)
  })

  it('shares calls by weight, with their sum', () => {
    expect(routesOf(resources(members, { weights }))).toMatchObject([
      {
        action: {
          value: {
            clusterSpecifier: {
              $case: 'weightedClusters',
              value: {
                clusters: [
                  { name: 'document@1.0.0', weight: 90 },
                  { name: 'document@2.0.0', weight: 10 },
                ],
                totalWeight: 100,
              },
            },
          },
        },
      },
    ])
  })

  it('gives the share of a version that nobody serves to the others, and all of it to the service', () => {
    const served = (fields: Partial<Member>) =>
      routesOf(resources([member('a', fields)], { weights }))[0]?.action?.value.clusterSpecifier
    expect(served({})).toMatchObject({
      value: { clusters: [{ name: 'document@1.0.0', weight: 90 }], totalWeight: 90 },
    })
    expect(served({ version: '2.0.0', state: 'draining' })).toEqual({ $case: 'cluster', value: 'document' })
  })

  it('tries the rules in order before the weights, and passes over those of a version that nobody serves', () => {
    const rules: NonNullable<Policy['rules']> = [
      { version: '3.0.0', headers: [{ name: 'x-lab', match: { $case: 'present', value: true } }] },
      {
        version: '2.0.0',
        method: 'docmesh.document.v1.DocumentService/GetDocument',
        headers: [
          { name: 'x-a', match: { $case: 'exact', value: 'yes' } },
          { name: 'x-b', match: { $case: 'prefix', value: 'ye' } },
          { name: 'x-c', match: { $case: 'present', value: true } },
          { name: 'x-d', match: { $case: 'present', value: false } },
        ],
      },
    ]
    expect(routesOf(resources(members, { rules }))).toMatchObject([
      {
        match: {
          pathSpecifier: { $case: 'path', value: '/docmesh.document.v1.DocumentService/GetDocument' },
          headers: [
            { name: 'x-a', headerMatchSpecifier: { $case: 'exactMatch', value: 'yes' }, invertMatch: false },
            { name: 'x-b', headerMatchSpecifier: { $case: 'prefixMatch', value: 'ye' }, invertMatch: false },
            { name: 'x-c', headerMatchSpecifier: { $case: 'presentMatch', value: true }, invertMatch: false },
            { name: 'x-d', headerMatchSpecifier: { $case: 'presentMatch', value: true }, invertMatch: true },
          ],
        },
        action: { value: { clusterSpecifier: { $case: 'cluster', value: 'document@2.0.0' } } },
      },
      { action: { value: { clusterSpecifier: { $case: 'cluster', value: 'document' } } } },
    ])
  })

  it('hashes a header on every route over rings, with clusters without a ring in reserve', () => {
    const all = resources(members, { weights, hash: { header: 'docmesh-user-id' } })
    expect(routesOf(all)).toMatchObject([
      {
        action: {
          value: {
            hashPolicy: [{ policySpecifier: { $case: 'header', value: { headerName: 'docmesh-user-id' } } }],
          },
        },
      },
    ])
    for (const found of all.filter(({ kind }) => kind === 'cluster')) {
      expect(Cluster.decode(found.any.value)).toMatchObject({
        lbPolicy: Cluster_LbPolicy.RING_HASH,
        lbConfig: { value: { hashFunction: 0, minimumRingSize: 1_024n, maximumRingSize: 4_096n } },
      })
      expect(Cluster.decode(found.plain?.any.value ?? new Uint8Array())).toMatchObject({
        name: found.name,
        lbPolicy: Cluster_LbPolicy.ROUND_ROBIN,
        lbConfig: undefined,
      })
    }
  })

  it('injects faults by a filter before the router, which the routes tell what to do', () => {
    const fault = {
      delayPercent: 12.5,
      delay: { seconds: 1n, nanos: 5 },
      abortPercent: 0.01,
      abortCode: 14,
    }
    const all = resources(members, { fault })
    expect(managerOf(all).httpFilters.map(({ name }) => name)).toEqual(['fault', 'router'])
    expect(faultOf(all)).toEqual({
      delay: {
        faultDelaySecifier: { $case: 'fixedDelay', value: fault.delay },
        percentage: { numerator: 125_000, denominator: 2 },
      },
      abort: {
        errorType: { $case: 'grpcStatus', value: 14 },
        percentage: { numerator: 100, denominator: 2 },
      },
    })
  })

  it('that only aborts does not delay, and one that only delays does not abort', () => {
    const fault = (policy: NonNullable<Policy['fault']>) => faultOf(resources(members, { fault: policy }))
    expect(fault({ abortPercent: 1, abortCode: 14 }).delay).toBeUndefined()
    expect(fault({ delayPercent: 1, delay: { seconds: 1n, nanos: 0 } }).abort).toBeUndefined()
  })
})
