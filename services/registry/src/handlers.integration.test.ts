import {
  IncidentKind,
  InstanceHealth,
  InstanceState,
  MeshIncident,
  type RegisterRequest,
  type RegisterResponse,
  Registration,
  RegistryServiceDefinition,
  TrafficPolicy,
} from '@docmesh/contracts/registry/v1/registry'
import { Code, createClient, grpcJsClient, grpcJsServer, implement, routesOf, sendOver } from '@docmesh/rpc'
import { createMetrics, type Metrics } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { registryHandlers } from './handlers.ts'
import type { Incident } from './incident.ts'
import { createRegistry, type Registry } from './registry.ts'

const { SERVING, SUSPECT, DRAINING, STARTING } = InstanceState

let registry: Registry
let metrics: Metrics
const incidents: Incident[] = []
let client: ReturnType<typeof connect>
const releases: (() => unknown)[] = []

const connect = (address: string) => {
  const connection = grpcJsClient.connect(address)
  releases.push(() => connection.close())
  return createClient(RegistryServiceDefinition, sendOver(connection))
}

beforeEach(async () => {
  registry = createRegistry({
    epoch: 'e1',
    leaseTtlMs: 15_000,
    suspectGraceMs: 2_000,
    monotonic: () => performance.now(),
    clock: () => new Date(),
  })
  metrics = createMetrics({ service: 'registry', version: '1', processMetrics: false })
  const implementation = implement(
    RegistryServiceDefinition,
    registryHandlers(registry, metrics, {
      status: () => ({ replicating: true, peers: 2, xdsStreams: 3 }),
      onIncident: (incident) => incidents.push(incident),
    }),
  )
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  releases.push(() => listener.close(0))
  client = connect(listener.address)
})
afterEach(async () => {
  incidents.length = 0
  for (const release of releases.splice(0).reverse()) await release()
})

type Message = RegisterRequest['message']

const describing = (instanceId: string, fields: Partial<Registration> = {}) =>
  Registration.fromPartial({
    service: 'document',
    instanceId,
    incarnation: 1n,
    address: '127.0.0.1:7401',
    state: SERVING,
    ...fields,
  })
const registration = (value: Registration): Message => ({ $case: 'registration', value })
const heartbeat = (state: InstanceState, lagSeconds?: bigint): Message => ({
  $case: 'heartbeat',
  value: { state, eventLoopLag: lagSeconds === undefined ? undefined : { seconds: lagSeconds, nanos: 0 } },
})
const incident = (fields: Partial<MeshIncident> = {}): Message => ({
  $case: 'incident',
  value: MeshIncident.fromPartial({
    kind: IncidentKind.ENDPOINT_EJECTED,
    at: new Date(1_000),
    service: 'analysis',
    instanceId: 'x',
    reason: 'success_ratio',
    ...fields,
  }),
})

/** A Register stream that the test speaks on and listens to, message by message. */
function lease() {
  const queue: { message: Message; leaseToken: string }[] = []
  let wake = (): void => {}
  let over = false
  async function* requests() {
    while (!over) {
      for (let item = queue.shift(); item; item = queue.shift()) yield item
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  const tell = (message: Message, leaseToken = ''): void => {
    queue.push({ message, leaseToken })
    wake()
  }
  const leave = new AbortController()
  const responses = client.register(requests(), { signal: leave.signal })[Symbol.asyncIterator]()
  releases.push(() => leave.abort())
  return {
    say(message: Message, leaseToken = '') {
      tell(message, leaseToken)
      return responses.next()
    },
    /** Says what is not answered. */
    tell,
    hear: () => responses.next(),
    end() {
      over = true
      wake()
      return responses.next()
    },
    leave: () => leave.abort(),
  }
}

const tokenOf = ({ value }: IteratorResult<RegisterResponse>): string =>
  value?.message?.$case === 'lease' ? value.message.value.leaseToken : ''

const listed = async () =>
  (await client.listInstances({})).instances.map(({ registration, state }) => [
    registration?.instanceId,
    state,
  ])

describe('Register', () => {
  it('grants a lease with a third of its time between heartbeats, and confirms each heartbeat', async () => {
    const { say } = lease()
    expect((await say(registration(describing('a')))).value).toEqual({
      message: {
        $case: 'lease',
        value: {
          ttl: { seconds: 15n, nanos: 0 },
          heartbeatInterval: { seconds: 5n, nanos: 0 },
          revision: 1n,
          leaseToken: expect.stringMatching(/^[\w-]{22}$/),
        },
      },
    })
    expect((await say(heartbeat(DRAINING))).value).toMatchObject({ message: { $case: 'renewed' } })
    expect(await listed()).toEqual([['a', DRAINING]])
    await say(heartbeat(InstanceState.UNSPECIFIED))
    expect(await listed()).toEqual([['a', DRAINING]])
  })

  it('makes the instance suspect when its stream breaks, and when it ends', async () => {
    const [broken, ended] = [lease(), lease()]
    const token = tokenOf(await broken.say(registration(describing('a'))))
    await ended.say(registration(describing('b')))
    broken.leave()
    expect((await ended.end()).done).toBe(true)
    await eventually(async () =>
      expect(await listed()).toEqual([
        ['a', SUSPECT],
        ['b', SUSPECT],
      ]),
    )
    await lease().say(registration(describing('a')), token)
    expect((await listed())[0]).toEqual(['a', SERVING])
  })

  it('is refused to another process while the holder is there, and while it may come back', async () => {
    const holder = lease()
    await holder.say(registration(describing('a')))
    await expect(lease().say(registration(describing('a')), 'forged')).rejects.toMatchObject({
      code: Code.ALREADY_EXISTS,
      reason: 'INSTANCE_EXISTS',
    })
    holder.leave()
    await eventually(async () => expect(await listed()).toEqual([['a', SUSPECT]]))
    await expect(lease().say(registration(describing('a')))).rejects.toMatchObject({
      code: Code.PERMISSION_DENIED,
      reason: 'LEASE_MISMATCH',
    })
  })

  it('takes the lag of the event loop from the heartbeats', async () => {
    const { say } = lease()
    await say(registration(describing('a')))
    await say(heartbeat(SERVING, 2n))
    const { instances } = await client.listInstances({})
    expect(instances[0]).toMatchObject({ state: SERVING, health: InstanceHealth.DEGRADED })
  })

  it('takes what callers report, up to an amount, and refuses what it does not understand', async () => {
    const reporting = lease()
    await reporting.say(registration(describing('a')))
    for (let i = 0; i < 60; i++) reporting.tell(incident())
    await reporting.say(heartbeat(SERVING))
    expect(incidents[0]).toEqual({
      kind: 'endpoint_ejected',
      at: new Date(1_000),
      callerService: 'document',
      callerInstanceId: 'a',
      service: 'analysis',
      instanceId: 'x',
      methodClass: '',
      reason: 'success_ratio',
    })
    expect(incidents.length).toBeGreaterThanOrEqual(50)
    expect(incidents.length).toBeLessThan(60)
    expect((await metrics.render()).body).toContain(
      'docmesh_registry_incidents_total{kind="endpoint_ejected"} 60',
    )
    await expect(
      reporting.say(incident({ kind: IncidentKind.UNSPECIFIED, service: '?' })),
    ).rejects.toMatchObject({
      options: { fields: [{ field: 'incident.kind' }, { field: 'incident.service' }] },
    })
  })

  it('tells of every circuit that is open, however much else its caller reports', async () => {
    const reporting = lease()
    await reporting.say(registration(describing('a')))
    for (let i = 0; i < 60; i++) reporting.tell(incident())
    reporting.tell(incident({ kind: IncidentKind.CIRCUIT_OPENED, methodClass: 'read' }))
    await reporting.say(heartbeat(SERVING))
    expect((await client.getStatus({})).breakers).toMatchObject([
      { service: 'analysis', methodClass: 'read', state: 'OPEN', callerInstanceId: 'a' },
    ])
  })

  it('refuses a heartbeat that comes first, and a message without content', async () => {
    for (const first of [heartbeat(SERVING), undefined]) {
      await expect(lease().say(first)).rejects.toMatchObject({
        code: Code.INVALID_ARGUMENT,
        options: { fields: [{ field: 'message', description: expect.stringContaining('registration') }] },
      })
    }
    expect(await listed()).toEqual([])
  })

  it('names every wrong field of a registration at once', async () => {
    const wrong = describing('', {
      service: 'Document Service',
      incarnation: -1n,
      address: 'nowhere',
      adminAddress: ':0',
      version: 'v'.repeat(257),
      zone: 'z'.repeat(257),
      weight: 1_001,
      grpcServices: ['s'.repeat(257)],
      dependencies: Array.from({ length: 101 }, () => 'd'),
      capabilities: ['c'.repeat(257)],
      labels: { ['k'.repeat(257)]: '' },
    })
    const error = await lease()
      .say(registration(wrong))
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: Code.INVALID_ARGUMENT, reason: 'INVALID_REQUEST' })
    const { fields } = (error as { options: { fields: { field: string }[] } }).options
    expect(fields.map(({ field }) => field.replace('registration.', ''))).toEqual([
      'service',
      'instance_id',
      'incarnation',
      'address',
      'admin_address',
      'version',
      'zone',
      'weight',
      'grpc_services',
      'dependencies',
      'capabilities',
      'labels',
    ])
    expect(await listed()).toEqual([])
  })

  it.each([
    ['instance_id', { instanceId: 'a\0b' }],
    ['instance_id', { instanceId: 'a\nb' }],
    ['address', { address: '127.0.0.1:65536' }],
    ['admin_address', { adminAddress: '[::1]:99999' }],
  ])('refuses a wrong %s that the database or a client could not take: %j', async (field, fields) => {
    await expect(lease().say(registration(describing('a', fields)))).rejects.toMatchObject({
      options: { fields: [{ field: `registration.${field}` }] },
    })
  })

  it.each([SUSPECT, InstanceState.UNSPECIFIED])(
    'refuses state %i, which is not for an instance to say',
    async (state) => {
      await expect(lease().say(registration(describing('a', { state })))).rejects.toMatchObject({
        options: { fields: [{ field: 'state' }] },
      })
    },
  )

  it('ends the stream of a process whose id a newer one has taken', async () => {
    const [old, newer] = [lease(), lease()]
    await old.say(registration(describing('a')))
    const ending = old.hear()
    await newer.say(registration(describing('a', { incarnation: 2n })))
    await expect(ending).rejects.toMatchObject({
      code: Code.ABORTED,
      reason: 'STALE_INCARNATION',
      options: { metadata: { incarnation: '2' } },
    })
    expect(await listed()).toEqual([['a', SERVING]])
  })
})

describe('Renew and Deregister', () => {
  it('say that an instance is unknown, and that a process is too old', async () => {
    registry.register({ ...describing('a', { incarnation: 2n }) }, 'serving', {})
    await expect(client.renew({ instanceId: 'b', incarnation: 1n })).rejects.toMatchObject({
      code: Code.NOT_FOUND,
      reason: 'INSTANCE_NOT_FOUND',
      options: { resource: { type: 'instance', name: 'b' } },
    })
    const old = { instanceId: 'a', incarnation: 1n }
    await expect(client.renew(old)).rejects.toMatchObject({ reason: 'STALE_INCARNATION' })
    await expect(client.deregister(old)).rejects.toMatchObject({ reason: 'STALE_INCARNATION' })
  })

  it('refuse who does not hold the lease', async () => {
    registry.register(describing('a'), 'serving', {})
    for (const leaseToken of ['', 'forged']) {
      const forged = { instanceId: 'a', incarnation: 1n, leaseToken }
      const refused = { code: Code.PERMISSION_DENIED, reason: 'LEASE_MISMATCH' }
      await expect(client.renew(forged)).rejects.toMatchObject(refused)
      await expect(client.deregister(forged)).rejects.toMatchObject(refused)
    }
    expect(await listed()).toEqual([['a', SERVING]])
  })

  it('renew the lease, and end it; ending none is no error', async () => {
    const { token } = registry.register(describing('a'), 'serving', {})
    const own = { instanceId: 'a', incarnation: 1n, leaseToken: token }
    expect((await client.renew(own)).lease).toMatchObject({
      ttl: { seconds: 15n },
      revision: 1n,
      leaseToken: token,
    })
    expect(await client.deregister(own)).toEqual({ revision: 2n })
    expect(await client.deregister(own)).toEqual({ revision: 2n })
    expect(await listed()).toEqual([])
  })
})

describe('Watch', () => {
  const open = (request: Parameters<typeof client.watch>[0]) => {
    const leave = new AbortController()
    const responses = client.watch(request, { signal: leave.signal })[Symbol.asyncIterator]()
    releases.push(() => leave.abort())
    const next = async () => (await responses.next()).value
    return { next, leave }
  }

  it('sends the mesh, then each change, and tells of gone instances', async () => {
    const { token } = registry.register(describing('a'), 'serving', {})
    const { next } = open({})
    expect(await next()).toMatchObject({
      epoch: 'e1',
      revision: 1n,
      update: {
        $case: 'snapshot',
        value: { instances: [{ registration: { instanceId: 'a' }, state: SERVING }] },
      },
    })
    registry.setHealth('a', 1n, 'healthy', 1_234.5)
    expect(await next()).toMatchObject({
      revision: 2n,
      update: {
        $case: 'delta',
        value: { changedInstances: [{ responseTime: { seconds: 1n, nanos: 234_500_000 } }] },
      },
    })
    registry.deregister('a', 1n, token)
    expect(await next()).toMatchObject({
      revision: 3n,
      update: { $case: 'delta', value: { changedInstances: [], removedInstanceIds: ['a'] } },
    })
  })

  it('resumes from a revision of the same epoch', async () => {
    registry.register(describing('a'), 'serving', {})
    registry.register(describing('b'), 'starting', {})
    const { next } = open({ epoch: 'e1', fromRevision: 1n })
    expect(await next()).toMatchObject({
      update: {
        $case: 'delta',
        value: { changedInstances: [{ registration: { instanceId: 'b' }, state: STARTING }] },
      },
    })
  })

  it('leaves out services that were not asked for', async () => {
    registry.register(describing('a'), 'serving', {})
    const { next } = open({ services: ['analysis'] })
    expect(await next()).toMatchObject({ update: { value: { instances: [] } } })
    registry.register(describing('b', { service: 'analysis' }), 'serving', {})
    expect(await next()).toMatchObject({
      update: { value: { changedInstances: [{ registration: { instanceId: 'b' } }] } },
    })
  })

  it('is encoded once for all who need the same', async () => {
    const watches = Array.from({ length: 20 }, () => open({}))
    const filtered = Array.from({ length: 20 }, () => open({ services: ['document'] }))
    for (const { next } of [...watches, ...filtered]) await next()
    registry.register(describing('a'), 'serving', {})
    for (const { next } of [...watches, ...filtered])
      expect(await next()).toMatchObject({
        update: { $case: 'delta', value: { changedInstances: [{ registration: { instanceId: 'a' } }] } },
      })
    const { body } = await metrics.render()
    expect(body).toContain('docmesh_registry_updates_encoded_total{kind="snapshot"} 2')
    expect(body).toContain('docmesh_registry_updates_encoded_total{kind="delta"} 2')
  })

  it('brings the traffic policies, and says while they are not known', async () => {
    registry.replacePolicies([TrafficPolicy.fromPartial({ service: 'document', etag: '1' })])
    const { next } = open({})
    expect(await next()).toMatchObject({
      update: { value: { policies: [{ service: 'document', etag: '1' }], policiesPending: false } },
    })
    registry.replacePolicies([])
    expect(await next()).toMatchObject({ update: { value: { removedPolicies: ['document'] } } })
  })

  it('refuses what it cannot follow', async () => {
    await expect(open({ services: ['?'], watcherId: 'w'.repeat(257) }).next()).rejects.toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'services' }, { field: 'watcher_id' }] },
    })
  })

  it('is counted while it is open', async () => {
    const { next, leave } = open({})
    await next()
    expect((await client.getStatus({})).watchers).toBe(1)
    leave.abort()
    await eventually(async () => expect((await client.getStatus({})).watchers).toBe(0))
  })

  it('sends its watchers elsewhere when the registry closes', async () => {
    const { next } = open({})
    await next()
    const last = next()
    registry.close()
    await expect(last).rejects.toMatchObject({ code: Code.UNAVAILABLE, reason: 'SHUTTING_DOWN' })
  })
})

describe('Drain', () => {
  it('marks the instance, tells it, and waits until the watchers have acknowledged', async () => {
    const instance = lease()
    await instance.say(registration(describing('a')))
    const leave = new AbortController()
    releases.push(() => leave.abort())
    const watch = client.watch({ watcherId: 'w' }, { signal: leave.signal })[Symbol.asyncIterator]()
    const { value: first } = await watch.next()
    await client.acknowledgeRevision({ watcherId: 'w', epoch: 'e1', revision: first?.revision ?? 0n })
    const command = instance.hear()
    const drained = client.drain({ instanceId: 'a', grace: { seconds: 7n, nanos: 0 } })
    expect((await command).value).toEqual({
      message: {
        $case: 'command',
        value: { command: { $case: 'drain', value: { grace: { seconds: 7n, nanos: 0 } } } },
      },
    })
    const { value: next } = await watch.next()
    expect(next?.revision).toBe(2n)
    await client.acknowledgeRevision({ watcherId: 'w', epoch: 'e0', revision: 2n })
    await client.acknowledgeRevision({ watcherId: 'nobody', epoch: 'e1', revision: 2n })
    expect((await client.getStatus({})).acknowledgedRevision).toBe(1n)
    await client.acknowledgeRevision({ watcherId: 'w', epoch: 'e1', revision: 2n })
    expect(await drained).toEqual({ revision: 2n, acknowledged: true })
    expect(await listed()).toEqual([['a', DRAINING]])
  })

  it('says when the watchers did not acknowledge in time', async () => {
    registry.register(describing('a'), 'serving', {})
    const leave = new AbortController()
    releases.push(() => leave.abort())
    await client.watch({ watcherId: 'w' }, { signal: leave.signal })[Symbol.asyncIterator]().next()
    const wait = { seconds: 0n, nanos: 1_000_000 }
    expect(await client.drain({ instanceId: 'a', wait })).toEqual({ revision: 2n, acknowledged: false })
  })

  it('refuses an instance that is not there, and a time that cannot be', async () => {
    await expect(client.drain({ instanceId: 'a' })).rejects.toMatchObject({ reason: 'INSTANCE_NOT_FOUND' })
    await expect(client.drain({ instanceId: 'a', wait: { seconds: 601n, nanos: 0 } })).rejects.toMatchObject({
      options: { fields: [{ field: 'wait' }] },
    })
  })
})

describe('the lists', () => {
  beforeEach(() => {
    for (const id of ['d1', 'd2', 'd3']) registry.register(describing(id, { version: '2' }), 'serving', {})
    registry.register(describing('d0', { version: '1' }), 'draining', {})
    registry.register(describing('a1', { service: 'analysis' }), 'serving', {})
    registry.setHealth('d3', 1n, 'unhealthy', 1)
  })

  it('come in pages that make the whole, sorted by service and id', async () => {
    const seen: (string | undefined)[][] = []
    let pageToken = ''
    do {
      const page = await client.listInstances({ pageSize: 2, pageToken })
      seen.push(page.instances.map(({ registration }) => registration?.instanceId))
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(seen).toEqual([['a1', 'd0'], ['d1', 'd2'], ['d3']])
  })

  it('of instances can be of one service', async () => {
    const { instances } = await client.listInstances({ service: 'analysis' })
    expect(instances.map(({ registration }) => registration?.instanceId)).toEqual(['a1'])
  })

  it('of services count the instances and those that can be called', async () => {
    const first = await client.listServices({ pageSize: 1 })
    expect(first.services).toEqual([{ service: 'analysis', instances: 1, available: 1, versions: [''] }])
    const { services, nextPageToken } = await client.listServices({
      pageSize: 1,
      pageToken: first.nextPageToken,
    })
    expect(services).toEqual([{ service: 'document', instances: 4, available: 2, versions: ['1', '2'] }])
    expect(nextPageToken).toBe('')
  })

  it('refuse a page that cannot be', async () => {
    await expect(client.listInstances({ pageSize: -1 })).rejects.toMatchObject({
      code: Code.INVALID_ARGUMENT,
    })
    await expect(client.listServices({ pageToken: '*' })).rejects.toMatchObject({
      reason: 'INVALID_PAGE_TOKEN',
    })
  })

  it('GetStatus tells of this replica', async () => {
    expect(await client.getStatus({})).toMatchObject({
      epoch: 'e1',
      revision: registry.revision(),
      instances: 5,
      startedAt: registry.startedAt,
      quarantine: true,
      massExpiryGuard: false,
      policiesPending: false,
      acknowledgedRevision: registry.revision(),
      replicating: true,
      peers: 2,
      xdsStreams: 3,
    })
  })
})
