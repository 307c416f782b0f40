import {
  createHealthService,
  grpcJsClient,
  grpcJsServer,
  type Listener,
  routesOf,
  runInCall,
} from '@docmesh/rpc'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { createClientHealth } from './client-health.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function server(address = '127.0.0.1:0') {
  const health = createHealthService([])
  health.set(true)
  const listener = await grpcJsServer.listen(address, routesOf(health.implementation, []))
  releases.push(() => listener.close(0))
  return { ...listener, health }
}

/** Listens to the given addresses as `i0`, `i1`, …; all that is said of them. */
function listenTo(addresses: readonly string[]) {
  const heard: string[] = []
  const connections: string[] = []
  const clientHealth = createClientHealth({
    connectionTo(address) {
      connections.push(address)
      const connection = grpcJsClient.connect(address)
      releases.push(() => connection.close())
      return connection
    },
    onHealth: (id, healthy) => heard.push(`${id} ${healthy ? 'healthy' : 'unhealthy'}`),
    random: () => 0,
  })
  releases.push(() => clientHealth.close())
  const update = (...next: readonly string[]): void =>
    clientHealth.update(next.map((address, at) => ({ instanceId: `i${at}`, address })))
  update(...addresses)
  return { heard, connections, update, clientHealth }
}

describe('what an instance says of itself', () => {
  it('is heard when it changes', async () => {
    const { address, health } = await server()
    const { heard } = listenTo([address])
    health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy']))
    health.set(true)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy', 'i0 healthy']))
  })

  it('counts no more when the stream has broken, until it is heard again', async () => {
    const first = await server()
    const { heard } = listenTo([first.address])
    first.health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy']))
    await first.close(0)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy', 'i0 healthy']))
    const second = await server(first.address)
    second.health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy', 'i0 healthy', 'i0 unhealthy']))
  })

  it('is not asked for again when it does not know how to', async () => {
    const ignorant: Listener = await grpcJsServer.listen('127.0.0.1:0', [])
    const { address, health } = await server()
    releases.push(() => ignorant.close(0))
    const { heard, connections } = listenTo([ignorant.address, '127.0.0.1:1', address])
    await eventually(() => expect(connections.filter((each) => each === '127.0.0.1:1')).toHaveLength(2))
    expect(connections.filter((each) => each === ignorant.address)).toHaveLength(1)
    health.set(false)
    await eventually(() => expect(heard).toEqual(['i2 unhealthy']))
  })

  it('is listened to whatever becomes of the call that was the first to need it', async () => {
    const { address, health } = await server()
    const caller = new AbortController()
    const context = {
      requestId: 'r',
      userId: '',
      tenantId: '',
      deadline: Date.now() + 50,
      signal: caller.signal,
    }
    const { heard } = runInCall(context, () => listenTo([address]))
    caller.abort()
    await eventually(() => expect(Date.now()).toBeGreaterThan(context.deadline))
    health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy']))
  })
})

describe('an instance', () => {
  it('that is not in use any more is not listened to', async () => {
    const [one, two] = [await server(), await server()]
    const { heard, update } = listenTo([one.address, two.address])
    update(one.address)
    two.health.set(false)
    one.health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy']))
  })

  it('that comes back at another address is listened to there', async () => {
    const [one, two] = [await server(), await server()]
    const { heard, update } = listenTo([one.address])
    update(two.address)
    one.health.set(false)
    two.health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy']))
    two.health.set(true)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy', 'i0 healthy']))
  })

  it('counts no more as ill when it is not listened to any more, and is heard when it is in use again', async () => {
    const { address, health } = await server()
    const { heard, update } = listenTo([address])
    health.set(false)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy']))
    update()
    expect(heard).toEqual(['i0 unhealthy', 'i0 healthy'])
    update(address)
    await eventually(() => expect(heard).toEqual(['i0 unhealthy', 'i0 healthy', 'i0 unhealthy']))
    health.set(true)
    await eventually(() => expect(heard.at(-1)).toBe('i0 healthy'))
  })

  it('that stays is listened to over the stream that it has', async () => {
    const { address } = await server()
    const { connections, update } = listenTo([address])
    update(address)
    update(address)
    expect(connections).toEqual([address])
  })
})
