import {
  HealthDefinition,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { grpcJsClient, grpcJsServer, implement, routesOf } from '@docmesh/rpc'
import { silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { startHealthChecks } from './health-checks.ts'
import type { Description, Health } from './member.ts'
import { createRegistry } from './registry.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

/** A server of grpc.health.v1 that answers as told. */
async function server(answer: () => Serving | 'nothing' = () => Serving.SERVING) {
  const asked: number[] = []
  const implementation = implement(HealthDefinition, {
    async check() {
      const status = answer()
      asked.push(performance.now())
      return status === 'nothing' ? new Promise<never>(() => {}) : { status }
    },
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  releases.push(() => listener.close(0))
  return { address: listener.address, asked, stop: () => listener.close(0) }
}

function checked({ intervalMs = 15, timeoutMs = 1_000, random = (): number => 0.5 } = {}) {
  const registry = createRegistry({
    epoch: 'e1',
    leaseTtlMs: 60_000,
    suspectGraceMs: 2_000,
    monotonic: () => performance.now(),
    clock: () => new Date(),
  })
  const seen: Health[] = []
  registry.onChange((change) => {
    if (!('member' in change)) return
    const { health } = change.member
    if (seen.at(-1) !== health) seen.push(health)
  })
  const checks = startHealthChecks(registry, {
    transport: grpcJsClient,
    intervalMs,
    timeoutMs,
    logger: silentLogger,
    random,
  })
  releases.push(() => checks.close())
  const stream = {}
  const register = (address: string, incarnation = 1n) =>
    registry.register(describing(address, incarnation), 'serving', stream)
  const health = () => registry.members()[0]?.health
  return { registry, register, health, seen, checks }
}

const describing = (address: string, incarnation: bigint): Description => ({
  service: 'document',
  instanceId: 'a',
  incarnation,
  address,
  adminAddress: '',
  version: '1',
  zone: '',
  grpcServices: [],
  dependencies: [],
  capabilities: [],
  weight: 0,
  labels: {},
})

describe('an instance', () => {
  it('is healthy from its first answer, which is asked for at once, and the time it took is kept', async () => {
    const { register, registry, health } = checked({ intervalMs: 60_000 })
    register((await server()).address)
    await eventually(() => expect(health()).toBe('healthy'))
    expect(registry.members()[0]?.responseTimeMs).toBeGreaterThan(0)
  })

  it('is asked for the second time after a time of its own: those that join together are not asked together for ever', async () => {
    const [first, second] = await Promise.all([server(), server()])
    const draws = [0.9, 0.1]
    const { registry } = checked({ intervalMs: 400, random: () => draws.shift() ?? 0.5 })
    for (const [instanceId, { address }] of [
      ['a', first],
      ['b', second],
    ] as const)
      registry.register({ ...describing(address, 1n), instanceId }, 'serving', {})
    await eventually(() => expect(first.asked.length).toBeGreaterThan(1))
    expect(second.asked[1]).toBeLessThan(first.asked[1] ?? 0)
  })

  it('is unhealthy after two failures in a row, not after one, and healthy after one success', async () => {
    const answers = [true, false, true, true, false, false, true]
    const { address, asked } = await server(() =>
      (answers.shift() ?? true) ? Serving.SERVING : Serving.NOT_SERVING,
    )
    const { register, seen } = checked()
    register(address)
    await eventually(() => expect(asked.length).toBeGreaterThan(8))
    expect(seen).toEqual(['unknown', 'healthy', 'unhealthy', 'healthy'])
  })

  it('is unhealthy when it takes longer than the time-out', async () => {
    let hangs = false
    const { address } = await server(() => (hangs ? 'nothing' : Serving.SERVING))
    const { register, health } = checked({ timeoutMs: 20 })
    register(address)
    await eventually(() => expect(health()).toBe('healthy'))
    hangs = true
    await eventually(() => expect(health()).toBe('unhealthy'))
  })

  it('is unhealthy when nobody answers at its address', async () => {
    const { register, health } = checked()
    register('127.0.0.1:1')
    await eventually(() => expect(health()).toBe('unhealthy'))
  })

  it('is asked at its new address when it registers with another one, or as a newer process', async () => {
    const [first, second, third] = await Promise.all([server(), server(), server()])
    const { register } = checked({ intervalMs: 60_000 })
    register(first.address)
    await eventually(() => expect(first.asked).toHaveLength(1))
    register(second.address)
    await eventually(() => expect(second.asked).toHaveLength(1))
    register(third.address, 2n)
    await eventually(() => expect(third.asked).toHaveLength(1))
    register(third.address, 2n)
    expect([first.asked.length, second.asked.length, third.asked.length]).toEqual([1, 1, 1])
  })

  it('is not judged by what its former address has not answered', async () => {
    const timeoutMs = 600
    const [hung, well] = await Promise.all([server(() => 'nothing'), server()])
    const { register, seen } = checked({ timeoutMs })
    register(hung.address)
    await eventually(() => expect(hung.asked.length).toBeGreaterThan(2))
    const movedAt = performance.now()
    const before = seen.length
    register(well.address)
    await eventually(() => expect(well.asked.at(-1)).toBeGreaterThan(movedAt + 2 * timeoutMs))
    expect(seen.slice(before)).toEqual(['healthy'])
  })

  it('that drains is not unhealthy because it says that it serves no more', async () => {
    let serves = true
    const { address, asked } = await server(() => (serves ? Serving.SERVING : Serving.NOT_SERVING))
    const { register, registry, seen, health } = checked()
    register(address)
    await eventually(() => expect(health()).toBe('healthy'))
    registry.drain('a')
    serves = false
    const other = checked()
    const witness = await server()
    other.register(witness.address)
    const before = asked.length
    await eventually(() => expect(witness.asked.length).toBeGreaterThan(5))
    expect(seen).toEqual(['unknown', 'healthy'])
    expect(asked.length - before).toBeLessThanOrEqual(1) // one may have been on its way
  })

  it('is asked no more when it has left, or the checks have been closed', async () => {
    const { address, asked } = await server()
    const { register, registry, checks } = checked()
    const quiet = async () => {
      const before = asked.length
      const other = await server()
      const probe = checked()
      probe.register(other.address)
      await eventually(() => expect(other.asked.length).toBeGreaterThan(4))
      return asked.length - before
    }
    const { token } = register(address)
    await eventually(() => expect(asked.length).toBeGreaterThan(1))
    registry.deregister('a', 1n, token)
    expect(await quiet()).toBeLessThanOrEqual(1)
    register(address)
    await eventually(() => expect(registry.members()[0]?.health).toBe('healthy'))
    checks.close()
    expect(await quiet()).toBeLessThanOrEqual(1)
  })
})
