import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { InstanceState, Registration } from '@docmesh/contracts/registry/v1/registry'
import { type ClientTransport, grpcJsClient, grpcJsServer, implement, routesOf } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, tcpProxy } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { keepLease } from './lease.ts'
import { joinMesh } from './mesh.ts'
import type { Membership } from './registration.ts'
import { startRegistry } from './registry.fixture.ts'
import { followMesh } from './watch.ts'

const { SERVING, DRAINING } = InstanceState

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function registry(options?: Parameters<typeof startRegistry>[0]) {
  const started = await startRegistry(options)
  releases.push(started.stop)
  return started
}

function mesh(registryTargets: readonly string[], transport: ClientTransport = grpcJsClient) {
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const joined = joinMesh({ registryTargets, logger: silentLogger, metrics, transport })
  releases.push(() => joined.close())
  return joined
}

const describing = (instanceId: string, address: string, incarnation = 1n) =>
  Registration.fromPartial({ service: 'document', instanceId, address, incarnation, state: SERVING })

function join(
  targets: readonly string[],
  registration: Registration,
  onReplaced = (_: Error): void => {},
): Membership {
  const membership = mesh(targets).register(registration, onReplaced)
  let left: Promise<void> | undefined
  const leave = (): Promise<void> => {
    left ??= membership.leave()
    return left
  }
  releases.push(leave)
  return { ...membership, leave }
}

/** A server of DocumentService that answers with its own name. */
async function documents(id: string) {
  const implementation = implement(DocumentServiceDefinition, {
    getDocument: async () => ({ document: { id } }),
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  releases.push(() => listener.close(0))
  return listener
}

/** Takes connections and never says a word. */
async function silentServer(): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  releases.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('a client of the mesh', () => {
  const asked = async (client: {
    getDocument(request: object): Promise<{ document?: { id: string } | undefined }>
  }) => (await client.getDocument({})).document?.id

  it('calls what the registry lists, and follows it', async () => {
    const { address, put } = await registry()
    const [first, second] = [await documents('first'), await documents('second')]
    put(describing('i1', first.address))
    const client = mesh([address]).client(DocumentServiceDefinition, 'document')
    expect(await asked(client)).toBe('first')
    put(describing('i1', first.address), DRAINING)
    put(describing('i2', second.address))
    await eventually(async () => expect(await asked(client)).toBe('second'))
    expect(await Promise.all(Array.from({ length: 10 }, () => asked(client)))).toEqual(
      Array(10).fill('second'),
    )
  })

  it('goes on calling while the registry is down, and resumes its watch where it was', async () => {
    const { address, put, watches } = await registry()
    const proxy = await tcpProxy(`tcp://${address}`)
    releases.push(() => proxy.close())
    put(describing('i1', (await documents('first')).address))
    const joined = mesh([`127.0.0.1:${proxy.port}`])
    const client = joined.client(DocumentServiceDefinition, 'document')
    expect(await asked(client)).toBe('first')
    proxy.cut()
    for (let i = 0; i < 20; i++) expect(await asked(client)).toBe('first')
    put(describing('i2', 'nowhere.test:1'))
    proxy.restore()
    await eventually(() => expect(joined.endpoints('document')).toHaveLength(2))
    expect(watches).toEqual([
      { epoch: '', fromRevision: 0n },
      { epoch: 'e1', fromRevision: 1n },
    ])
  })

  it('closes the connections to instances that have left, once', async () => {
    const { address, put, remove } = await registry()
    const { address: instance } = await documents('first')
    const closed: string[] = []
    const transport: ClientTransport = {
      connect(target) {
        const connection = grpcJsClient.connect(target)
        const close = (): void => {
          closed.push(target)
          connection.close()
        }
        return { ...connection, close }
      },
    }
    put(describing('i1', instance))
    const joined = mesh([address], transport)
    await asked(joined.client(DocumentServiceDefinition, 'document'))
    put(describing('i2', 'nowhere.test:1'))
    await eventually(() => expect(joined.endpoints('document')).toHaveLength(2))
    expect(closed).toEqual([])
    remove('i1')
    await eventually(() => expect(closed).toEqual([instance]))
  })

  it('lets a call in flight finish when its instance leaves the mesh', async () => {
    const { address, put, remove } = await registry()
    const begun = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    const implementation = implement(DocumentServiceDefinition, {
      async getDocument() {
        begun.resolve()
        await finish.promise
        return { document: { id: 'late' } }
      },
    })
    const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
    releases.push(() => listener.close(0))
    put(describing('i1', listener.address))
    const joined = mesh([address])
    const call = asked(joined.client(DocumentServiceDefinition, 'document'))
    await begun.promise
    remove('i1')
    await eventually(() => expect(joined.endpoints('document')).toEqual([]))
    finish.resolve()
    expect(await call).toBe('late')
  })

  it('takes another replica when one does not answer', async () => {
    const { address, put } = await registry()
    put(describing('i1', 'nowhere.test:1'))
    const joined = mesh(['127.0.0.1:1', address])
    await joined.synced
    expect(joined.endpoints('document')).toHaveLength(1)
  })

  it('takes another replica when one accepts the connection and stays silent', async () => {
    const { address } = await registry()
    const known = Promise.withResolvers<string>()
    const end = new AbortController()
    const following = followMesh(
      {
        targets: [await silentServer(), address],
        transport: grpcJsClient,
        logger: silentLogger,
        onLost: () => {},
        onState: ({ epoch }) => known.resolve(epoch),
        firstAnswerMs: 50,
      },
      end.signal,
    )
    expect(await known.promise).toBe('e1')
    end.abort()
    await following
  })

  it.each(['a registry that is down', 'a registry that is silent'])(
    'closes at once with %s',
    async (which) => {
      const target = which.endsWith('down') ? '127.0.0.1:1' : await silentServer()
      const joined = mesh([target])
      const begun = performance.now()
      await joined.close()
      expect(performance.now() - begun).toBeLessThan(500)
    },
  )
})

describe('an instance of the mesh', () => {
  it('is listed at every replica', async () => {
    const [one, two] = [await registry(), await registry({ epoch: 'e2' })]
    await join([one.address, two.address], describing('i1', 'h:1')).granted
    for (const { heard } of [one, two])
      await eventually(() =>
        expect(heard).toEqual([{ said: 'registration', instanceId: 'i1', state: SERVING }]),
      )
  })

  it('sends heartbeats at the interval that it was granted, from the first one on', async () => {
    const { address, heard } = await registry({ heartbeatMs: 20 })
    join([address], describing('i1', 'h:1'))
    await eventually(() => expect(heard.length).toBeGreaterThan(3), { timeoutMs: 2_000 })
    expect(heard.slice(0, 3).map(({ said }) => said)).toEqual(['registration', 'heartbeat', 'heartbeat'])
  })

  it('registers again with a registry that was started anew', async () => {
    const first = await registry()
    const membership = join([first.address], describing('i1', 'h:1'))
    await membership.granted
    await first.stop()
    const second = await registry({ epoch: 'e2', address: first.address })
    await eventually(() => expect(second.heard).toMatchObject([{ said: 'registration', instanceId: 'i1' }]))
    const follower = mesh([second.address])
    await follower.synced
    expect(follower.endpoints('document')).toMatchObject([{ endpoint: { instanceId: 'i1' }, state: 'ready' }])
  })

  it('tells the registry at once that it drains, and knows when it has been heard', async () => {
    const { address, heard } = await registry()
    const membership = join([address], describing('i1', 'h:1'))
    await membership.granted
    await membership.drain()
    expect(heard.at(-1)).toEqual({ said: 'heartbeat', instanceId: 'i1', state: DRAINING })
    await membership.leave()
    expect(heard.at(-1)).toMatchObject({ said: 'deregister' })
  })

  it('that drains while the registry is away registers as draining when it is back', async () => {
    const first = await registry()
    const membership = join([first.address], describing('i1', 'h:1'))
    await membership.granted
    await first.stop()
    await membership.drain()
    const second = await registry({ epoch: 'e2', address: first.address })
    await eventually(() => expect(second.heard[0]).toMatchObject({ said: 'registration', state: DRAINING }))
  })

  it('does not come back once it has left, though one replica takes its time', async () => {
    const { address, heard } = await registry({ heartbeatMs: 5 })
    const membership = join([address, await silentServer()], describing('i1', 'h:1'))
    await membership.granted
    await membership.leave()
    expect(heard.at(-1)).toMatchObject({ said: 'deregister' })
    expect(heard.filter(({ said }) => said === 'registration')).toHaveLength(1)
  })

  it.each(['a registry that is down', 'a registry that is silent'])(
    'leaves within a second or so with %s',
    async (which) => {
      const target = which.endsWith('down') ? '127.0.0.1:1' : await silentServer()
      const membership = join([target], describing('i1', 'h:1'))
      const begun = performance.now()
      await membership.drain()
      await membership.leave()
      expect(performance.now() - begun).toBeLessThan(1_500)
    },
  )

  it('whose id a newer process has taken hears of it, and does not insist', async () => {
    const { address, heard } = await registry()
    const replaced = Promise.withResolvers<Error>()
    const membership = join([address], describing('i1', 'h:1', 0n), replaced.resolve)
    expect(await replaced.promise).toMatchObject({ reason: 'STALE_INCARNATION' })
    await membership.leave()
    expect(heard.map(({ said }) => said)).toEqual(['registration', 'deregister'])
  })

  it('gives a replica that does not grant the lease up, and tries again', async () => {
    const connections: string[] = []
    const transport: ClientTransport = {
      connect(target) {
        connections.push(target)
        return grpcJsClient.connect(target)
      },
    }
    const end = new AbortController()
    const target = await silentServer()
    const keeping = keepLease(
      {
        target,
        transport,
        logger: silentLogger,
        registration: () => describing('i1', 'h:1'),
        onStateChange: () => () => {},
        onGranted: () => {},
        onConfirmed: () => {},
        onStale: () => {},
        grantTimeoutMs: 20,
      },
      end.signal,
    )
    await eventually(() => expect(connections).toEqual([target, target]))
    end.abort()
    await keeping
  })
})
