import {
  InstanceState,
  type RegisterRequest,
  Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { Code, createClient, grpcJsClient, grpcJsServer, implement, routesOf, sendOver } from '@docmesh/rpc'
import { createMetrics } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { registryHandlers } from './handlers.ts'
import { createRegistry, type Registry } from './registry.ts'

const { SERVING, SUSPECT, DRAINING, STARTING } = InstanceState

let registry: Registry
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
  const metrics = createMetrics({ service: 'registry', version: '1', processMetrics: false })
  const implementation = implement(RegistryServiceDefinition, registryHandlers(registry, metrics))
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  releases.push(() => listener.close(0))
  client = connect(listener.address)
})
afterEach(async () => {
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
const heartbeat = (state: InstanceState): Message => ({
  $case: 'heartbeat',
  value: { state, eventLoopLag: undefined },
})

/** A Register stream that the test speaks on and listens to, message by message. */
function lease() {
  const queue: { message: Message }[] = []
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
  const leave = new AbortController()
  const responses = client.register(requests(), { signal: leave.signal })[Symbol.asyncIterator]()
  releases.push(() => leave.abort())
  return {
    say(message: Message) {
      queue.push({ message })
      wake()
      return responses.next()
    },
    end() {
      over = true
      wake()
      return responses.next()
    },
    leave: () => leave.abort(),
  }
}

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
    await broken.say(registration(describing('a')))
    await ended.say(registration(describing('b')))
    broken.leave()
    expect((await ended.end()).done).toBe(true)
    await eventually(async () =>
      expect(await listed()).toEqual([
        ['a', SUSPECT],
        ['b', SUSPECT],
      ]),
    )
    await lease().say(registration(describing('a')))
    expect((await listed())[0]).toEqual(['a', SERVING])
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
    await newer.say(registration(describing('a', { incarnation: 2n })))
    await expect(old.say(heartbeat(SERVING))).rejects.toMatchObject({
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

  it('renew the lease, and end it; ending none is no error', async () => {
    registry.register(describing('a'), 'serving', {})
    const own = { instanceId: 'a', incarnation: 1n }
    expect((await client.renew(own)).lease).toMatchObject({ ttl: { seconds: 15n }, revision: 1n })
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
    registry.register(describing('a'), 'serving', {})
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
    registry.deregister('a', 1n)
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
    })
  })
})
