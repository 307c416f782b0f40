import { createMetrics, type Logger, silentLogger } from '@docmesh/telemetry'
import { eventually, tcpProxy } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Member } from './member.ts'
import { named } from './registry.fixture.ts'
import { createRegistry, type Registry } from './registry.ts'
import { hasRedisServer, startRedis } from './replication.fixture.ts'
import { startReplication } from './replication.ts'
import { encodeSaid } from './replication-message.ts'

let redis: Awaited<ReturnType<typeof startRedis>>
let stack: AsyncDisposableStack
let meshes = 0
let prefix: string
let replicas = 0

beforeAll(async () => {
  if (hasRedisServer) redis = await startRedis()
})
beforeEach(() => {
  stack = new AsyncDisposableStack()
  prefix = `mesh-${++meshes}`
})
afterEach(() => stack.disposeAsync())
afterAll(() => redis?.[Symbol.asyncDispose]())

const LEASE_TTL_MS = 1_500

interface ReplicaOptions {
  redisUrl?: string
  mesh?: string
  leaseTtlMs?: number
}

function startReplica({
  redisUrl = redis.url,
  mesh = prefix,
  leaseTtlMs = LEASE_TTL_MS,
}: ReplicaOptions = {}) {
  const lines: string[] = []
  const note = (_fields: object, message: string): void => void lines.push(message)
  const logger = { ...silentLogger, info: note, warn: note } as Logger
  const metrics = createMetrics({ service: 'registry', version: '0', processMetrics: false })
  const monotonic = () => performance.now()
  const registry = createRegistry({
    epoch: `replica-${++replicas}`,
    leaseTtlMs,
    suspectGraceMs: 2_000,
    monotonic,
    clock: () => new Date(),
  })
  const adopted = new Map<string, number>()
  const observed: Registry = {
    ...registry,
    adoptRemote(replica, member, ttlMs) {
      adopted.set(member.instanceId, ttlMs)
      registry.adoptRemote(replica, member, ttlMs)
    },
  }
  const random = Math.random
  const options = { redisUrl, prefix: mesh, registry: observed, logger, metrics, monotonic, random }
  const replication = startReplication(options)
  stack.defer(() => replication.close())
  const register = (instanceId: string, incarnation = 1n) =>
    registry.register(named(instanceId, { incarnation }), 'serving', undefined)
  return {
    registry,
    replication,
    adopted,
    lines,
    register,
    states: () => Object.fromEntries(registry.members().map(({ instanceId, state }) => [instanceId, state])),
    isReplicating: async () =>
      /^docmesh_registry_replicating\{?.*\}? 1$/m.test((await metrics.render()).body),
  }
}

async function startReady(options?: ReplicaOptions) {
  const replica = startReplica(options)
  await eventually(() => expect(replica.replication.connected()).toBe(true))
  return replica
}

const rejoined = (...all: Awaited<ReturnType<typeof startReady>>[]) =>
  eventually(() => expect(all.map(({ replication }) => replication.connected())).toEqual(all.map(() => true)))

describe.runIf(hasRedisServer)('replicas that share a Redis', () => {
  it('list what the others do, as it changes', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const { token } = one.register('x')
    two.register('y')
    await eventually(() => expect(two.states()).toEqual({ x: 'serving', y: 'serving' }))
    await eventually(() => expect(one.states()).toEqual({ x: 'serving', y: 'serving' }))
    one.registry.drain('x')
    await eventually(() => expect(two.states()).toEqual({ x: 'draining', y: 'serving' }))
    one.registry.deregister('x', 1n, token)
    await eventually(() => expect(two.states()).toEqual({ y: 'serving' }))
    expect(await one.isReplicating()).toBe(true)
  })

  it('count each other', async () => {
    const [one, two] = [await startReady(), await startReady()]
    await eventually(() => expect([one, two].map(({ replication }) => replication.peers())).toEqual([1, 1]))
    await two.replication.close()
    await eventually(() => expect(one.replication.peers()).toBe(0))
  })

  it('tell many changes at once in few messages', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const ids = Array.from({ length: 500 }, (_, index) => `x-${index}`)
    for (const id of ids) one.register(id)
    await eventually(() => expect(Object.keys(two.states())).toEqual(ids))
  })

  it('do not hear a mesh of another name', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const other = await startReady({ mesh: `${prefix}-other` })
    one.register('x')
    await eventually(() => expect(two.states()).toEqual({ x: 'serving' }))
    other.register('y')
    expect(other.states()).toEqual({ y: 'serving' })
    expect(other.replication.peers()).toBe(0)
  })

  it('never say the token of a lease', async () => {
    const seen: Buffer[] = []
    const listening = redis.client.duplicate({ lazyConnect: false })
    stack.defer(() => listening.disconnect())
    listening.on('messageBuffer', (_channel: Buffer, bytes: Buffer) => seen.push(bytes))
    await listening.subscribe(`${prefix}:registry:changes`)
    const one = await startReady()
    const { token } = one.register('x')
    const key = `${prefix}:registry:leases:${one.registry.epoch}`
    const copy = await eventually(async () => {
      const bytes = await redis.client.getBuffer(key)
      if (!bytes?.includes('x')) throw new Error('the copy does not have the instance yet')
      return bytes
    })
    await eventually(() => expect(seen.some((bytes) => bytes.includes('document'))).toBe(true))
    for (const bytes of [copy, ...seen]) expect(bytes.includes(token)).toBe(false)
  })

  it('pass over what is no message of theirs, and say so once', async () => {
    const [one, two] = [await startReady({ leaseTtlMs: 600_000 }), await startReady()]
    const channel = `${prefix}:registry:changes`
    const forged = { service: 'NOT A SERVICE', instanceId: 'z' } as Member
    for (const bytes of [Buffer.alloc(0), Buffer.from('garbage'), Buffer.alloc(100_000, 0xff)])
      await redis.client.publish(channel, bytes)
    const said = {
      replica: 'r',
      revision: 1n,
      kind: 'all',
      members: [{ ...two.register('y').member, ...forged }],
    } as const
    await redis.client.publish(channel, encodeSaid(said))
    await eventually(() => expect(one.states()).toEqual({ y: 'serving' }))
    expect(one.lines.filter((line) => line.includes('ignored'))).toHaveLength(1)
  })

  it('know from the copy, for the time that is left to it, what was said before they came', async () => {
    const leaseTtlMs = 600_000
    const one = await startReady({ leaseTtlMs })
    one.register('x')
    const two = await startReady({ leaseTtlMs })
    await eventually(() => expect(two.states()).toEqual({ x: 'serving' }))
    await one.replication.close()
    await redis.client.pexpire(`${prefix}:registry:leases:${one.registry.epoch}`, 5_000)
    const late = await startReady({ leaseTtlMs })
    expect(late.states()).toEqual({ x: 'serving' })
    expect(late.adopted.get('x')).toBeGreaterThan(0)
    expect(late.adopted.get('x')).toBeLessThanOrEqual(5_000)
  })

  it('do not find the copy of a replica that is long gone', async () => {
    const one = await startReady()
    one.register('x')
    await one.replication.close()
    await eventually(async () => expect(await redis.client.keys(`${prefix}:*`)).toEqual([]))
    expect((await startReady()).states()).toEqual({})
  })

  it('hear nothing of the end of a replica that closes', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const stream = {}
    const { member } = one.register('x')
    one.registry.register({ ...member, incarnation: 2n }, 'serving', stream)
    await eventually(() => expect(two.registry.members()[0]?.incarnation).toBe(2n))
    const closing = one.replication.close()
    one.registry.detach(stream)
    await closing
    two.register('y')
    const three = await startReady()
    await eventually(() => expect(three.states()).toMatchObject({ y: 'serving' }))
    expect(two.states()).toEqual({ x: 'serving', y: 'serving' })
  })
})

describe.runIf(hasRedisServer)('a replica without its Redis', () => {
  it('starts alone and joins when Redis is there', async () => {
    await using proxy = await tcpProxy(redis.url)
    proxy.cut()
    const other = await startReady()
    const one = startReplica({ redisUrl: proxy.url })
    one.register('x')
    await eventually(() => expect(one.lines).toHaveLength(1))
    expect(one.replication.connected()).toBe(false)
    expect(await one.isReplicating()).toBe(false)
    proxy.restore()
    await eventually(() => expect(other.states()).toEqual({ x: 'serving' }))
    expect(one.replication.connected()).toBe(true)
    expect(one.lines).toHaveLength(2)
  })

  it('goes on alone when Redis is killed, removes nothing, and heals when an empty one comes back', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const { token } = one.register('x')
    two.register('y')
    await eventually(() => expect(two.states()).toEqual({ x: 'serving', y: 'serving' }))
    await eventually(() => expect(one.states()).toEqual({ x: 'serving', y: 'serving' }))
    await redis.kill()
    for (const { replication, isReplicating } of [one, two]) {
      await eventually(() => expect(replication.connected()).toBe(false))
      expect(await isReplicating()).toBe(false)
    }
    expect(one.states()).toEqual({ x: 'serving', y: 'serving' })
    one.register('w')
    two.register('z')
    one.registry.deregister('x', 1n, token)
    expect(one.states()).toEqual({ y: 'serving', w: 'serving' })
    expect(two.states()).toEqual({ x: 'serving', y: 'serving', z: 'serving' })
    await redis.start()
    await rejoined(one, two)
    const healed = { w: 'serving', y: 'serving', z: 'serving' }
    await eventually(() => expect(one.states()).toEqual(healed))
    await eventually(() => expect(two.states()).toEqual(healed))
  })

  it('that alone was cut off learns what it missed, removals too', async () => {
    await using proxy = await tcpProxy(redis.url)
    const leaseTtlMs = 600_000 // does not heal by waiting for the interval
    const [one, two] = [
      await startReady({ leaseTtlMs }),
      await startReady({ redisUrl: proxy.url, leaseTtlMs }),
    ]
    const { token } = one.register('x')
    await eventually(() => expect(two.states()).toEqual({ x: 'serving' }))
    proxy.cut()
    await eventually(() => expect(two.replication.connected()).toBe(false))
    one.register('y')
    one.registry.deregister('x', 1n, token)
    two.register('z')
    expect(two.states()).toEqual({ x: 'serving', z: 'serving' })
    proxy.restore()
    await eventually(() => expect(two.states()).toEqual({ y: 'serving', z: 'serving' }))
    await eventually(() => expect(one.states()).toEqual({ y: 'serving', z: 'serving' }))
  })

  it('notices that Redis is frozen, and tells what is newest when it moves again', async () => {
    const [one, two] = [await startReady(), await startReady()]
    stack.defer(() => void redis.thaw())
    redis.freeze()
    for (let incarnation = 1n; incarnation <= 1_000n; incarnation++) one.register('x', incarnation)
    await eventually(() => expect(one.replication.connected()).toBe(false))
    await eventually(() => expect(two.replication.connected()).toBe(false))
    expect(one.states()).toEqual({ x: 'serving' })
    redis.thaw()
    await eventually(() =>
      expect(two.registry.members().map(({ incarnation }) => incarnation)).toEqual([1_000n]),
    )
    await rejoined(one, two)
  })
})
