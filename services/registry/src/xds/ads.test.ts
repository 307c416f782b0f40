import { AggregatedDiscoveryServiceDefinition } from '@docmesh/contracts/envoy/service/discovery/v3/ads'
import {
  type DeltaDiscoveryRequest,
  DiscoveryRequest,
  type DiscoveryResponse,
} from '@docmesh/contracts/envoy/service/discovery/v3/discovery'
import { ClientStatusDiscoveryServiceDefinition } from '@docmesh/contracts/envoy/service/status/v3/csds'
import { Code, createClient, grpcJsClient, grpcJsServer, routesOf, sendOver } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type XdsFace, xdsImplementations } from './ads.ts'
import { TYPE_URLS } from './kinds.ts'
import { member, type ScriptedMesh, scriptedMesh } from './mesh.fixture.ts'

let mesh: ScriptedMesh
let face: XdsFace
let metrics: ReturnType<typeof createMetrics>
let send: ReturnType<typeof sendOver>
const releases: (() => unknown)[] = []

beforeEach(async () => {
  mesh = scriptedMesh({ members: [member('a')] })
  metrics = createMetrics({ service: 'registry', version: '1', processMetrics: false })
  face = xdsImplementations(mesh, metrics, silentLogger)
  const routes = face.implementations.flatMap((implementation) => routesOf(implementation, []))
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  releases.push(() => listener.close(0))
  const connection = grpcJsClient.connect(listener.address)
  releases.push(() => connection.close())
  send = sendOver(connection)
})
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

/** A stream that the test speaks on and listens to. */
function open<Request>() {
  const queue: Request[] = []
  let wake = (): void => {}
  async function* requests() {
    for (;;) {
      for (let request = queue.shift(); request; request = queue.shift()) yield request
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  const leave = new AbortController()
  releases.push(() => leave.abort())
  return {
    requests: requests(),
    signal: leave.signal,
    leave: () => leave.abort(),
    say(request: Request) {
      queue.push(request)
      wake()
    },
  }
}

function dial() {
  const { requests, signal, leave, say } = open<DiscoveryRequest>()
  const client = createClient(AggregatedDiscoveryServiceDefinition, send)
  const responses = client.streamAggregatedResources(requests, { signal })[Symbol.asyncIterator]()
  return {
    leave,
    say: (fields: Parameters<typeof DiscoveryRequest.fromPartial>[0]) =>
      say(DiscoveryRequest.fromPartial({ typeUrl: TYPE_URLS.endpoint, ...fields })),
    next: async (): Promise<DiscoveryResponse> => (await responses.next()).value,
  }
}

const metricLines = async () =>
  (await metrics.render()).body.split('\n').filter((line) => line.startsWith('docmesh_registry_xds'))

describe('a stream', () => {
  it('is answered, pushed to when something changes, and counted while it is open', async () => {
    const { say, next, leave } = dial()
    say({ resourceNames: ['document'] })
    const first = await next()
    expect(first).toMatchObject({ typeUrl: TYPE_URLS.endpoint, resources: [{ typeUrl: TYPE_URLS.endpoint }] })
    expect(face.streams()).toBe(1)
    expect(await metricLines()).toContain('docmesh_registry_xds_streams{variant="sotw"} 1')
    mesh.set({ members: [member('a'), member('b', { address: '127.0.0.1:7402' })] })
    expect((await next()).versionInfo).not.toBe(first.versionInfo)
    leave()
    await eventually(() => expect(face.streams()).toBe(0))
    expect(await metricLines()).toContain('docmesh_registry_xds_streams{variant="sotw"} 0')
  })

  it('of the delta variant is counted as such', async () => {
    const { requests, signal, say } = open<DeltaDiscoveryRequest>()
    const client = createClient(AggregatedDiscoveryServiceDefinition, send)
    const responses = client.deltaAggregatedResources(requests, { signal })[Symbol.asyncIterator]()
    say({
      typeUrl: TYPE_URLS.cluster,
      node: undefined,
      resourceNamesSubscribe: [],
      resourceNamesUnsubscribe: [],
      initialResourceVersions: {},
      responseNonce: '',
      errorDetail: undefined,
    })
    expect((await responses.next()).value.resources).toMatchObject([{ name: 'document' }])
    expect(await metricLines()).toContain('docmesh_registry_xds_streams{variant="delta"} 1')
  })

  it('counts what its client accepts and refuses', async () => {
    const counted = (outcome: string) =>
      eventually(async () =>
        expect(await metricLines()).toContain(
          `docmesh_registry_xds_responses_total{type="endpoint",outcome="${outcome}"} 1`,
        ),
      )
    const { say, next } = dial()
    say({ resourceNames: ['document'] })
    say({ responseNonce: (await next()).nonce, resourceNames: ['document', 'other'] })
    await counted('ack')
    mesh.set({ members: [member('a', { health: 'unhealthy' })] })
    const errorDetail = { code: 3, message: 'no' }
    say({ responseNonce: (await next()).nonce, resourceNames: ['document'], errorDetail })
    await counted('nack')
  })

  it('ends with INVALID_ARGUMENT when its client asks for too much', async () => {
    const { say, next } = dial()
    say({ resourceNames: Array.from({ length: 2_000 }, (_, at) => `s${at}`) })
    await expect(next()).rejects.toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'resource_names' }] },
    })
    await eventually(() => expect(face.streams()).toBe(0))
  })

  it('of a client that does not read is not written to without end, and others do not wait for it', async () => {
    const deaf = dial()
    const wide = Array.from({ length: 500 }, (_, at) =>
      member(`m${at}`, { address: `127.0.0.1:${10_000 + at}` }),
    )
    const endpoints = (weight: number) => wide.map((each) => ({ ...each, weight }))
    deaf.say({ resourceNames: ['document'] })
    const reader = dial()
    reader.say({ resourceNames: ['document'] })
    await reader.next()
    const rounds = 300
    for (let round = 1; round <= rounds; round++) {
      mesh.set({ members: endpoints(round) })
      await reader.next()
    }
    let received = 0
    let last = await deaf.next()
    const newest = (await dialNewest()).versionInfo
    while (last.versionInfo !== newest) {
      received++
      last = await deaf.next()
    }
    expect(received).toBeLessThan(rounds / 2)
  })
})

async function dialNewest(): Promise<DiscoveryResponse> {
  const { say, next } = dial()
  say({ resourceNames: ['document'] })
  return next()
}

describe('ClientStatusDiscoveryService', () => {
  it('tells what each client holds, and what it refused and why', async () => {
    const { say, next } = dial()
    const node = { id: 'py-1', cluster: 'docmesh', locality: { zone: 'z1' } }
    say({ node, resourceNames: ['document', 'nothing'] })
    const { nonce } = await next()
    say({ typeUrl: TYPE_URLS.listener, resourceNames: ['document', 'nobody'] })
    await next()
    say({
      responseNonce: nonce,
      resourceNames: ['document', 'nothing'],
      errorDetail: { code: 3, message: 'why' },
    })
    const client = createClient(ClientStatusDiscoveryServiceDefinition, send)
    await eventually(async () => {
      const { config } = await client.fetchClientStatus({})
      expect(config).toMatchObject([{ node }])
      const rows = config[0]?.genericXdsConfigs.map(({ typeUrl, name, clientStatus, errorState }) =>
        [typeUrl.split('.').at(-1), name, clientStatus, errorState?.details].join(' ').trim(),
      )
      expect(rows?.sort()).toEqual([
        'ClusterLoadAssignment document 4 why',
        'ClusterLoadAssignment nothing 2',
        'Listener document 1',
        'Listener nobody 2',
      ])
    })
  })

  it('answers each request of a stream', async () => {
    const { requests, signal, say } = open<{ nodeMatchers: never[] }>()
    const client = createClient(ClientStatusDiscoveryServiceDefinition, send)
    const responses = client.streamClientStatus(requests, { signal })[Symbol.asyncIterator]()
    say({ nodeMatchers: [] })
    expect((await responses.next()).value).toEqual({ config: [] })
    await dialNewest()
    say({ nodeMatchers: [] })
    expect((await responses.next()).value.config).toHaveLength(1)
  })

  it('refuses to choose clients, rather than list others than were asked for', async () => {
    const client = createClient(ClientStatusDiscoveryServiceDefinition, send)
    await expect(client.fetchClientStatus({ nodeMatchers: [{}] })).rejects.toMatchObject({
      options: { fields: [{ field: 'node_matchers' }] },
    })
  })
})
