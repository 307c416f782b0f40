import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { describe, expect, it } from 'vitest'
import { fresh, named } from './registry.fixture.ts'
import type { Registry } from './registry.ts'
import type { Update } from './updates.ts'
import type { WatchOptions } from './watchers.ts'

function open(registry: Registry, options: WatchOptions = {}, from = 0n) {
  const leave = new AbortController()
  const updates = registry.watch(from > 0n ? 'e1' : '', from, leave.signal, options)[Symbol.asyncIterator]()
  return {
    next: async (): Promise<Update> => (await updates.next()).value,
    leave: () => leave.abort(),
    end: () => updates.return?.(),
  }
}

const waits = async (promise: Promise<unknown>) => {
  const pending = Symbol('pending')
  const turn = new Promise((resolve) => setImmediate(resolve, pending))
  return (await Promise.race([promise, turn])) === pending
}

const policy = (service: string, etag: string) => TrafficPolicy.fromPartial({ service, etag })

describe('a watcher of some services', () => {
  it('hears of their instances, departures and policies, and is not woken for others', async () => {
    const { registry } = fresh()
    const { next } = open(registry, { services: ['document'] })
    const other = registry.register(named('x', { service: 'analysis' }), 'serving', {})
    registry.replacePolicies([policy('analysis', '1')])
    expect(await next()).toMatchObject({ kind: 'snapshot', members: [], policies: [] })
    const news = next()
    registry.deregister('x', 1n, other.token)
    registry.replacePolicies([])
    registry.register(named('y', { service: 'analysis' }), 'serving', {})
    expect(await waits(news)).toBe(true)
    const { token } = registry.register(named('a'), 'serving', {})
    expect(await news).toMatchObject({ changed: [{ instanceId: 'a' }], removed: [] })
    registry.deregister('a', 1n, token)
    registry.replacePolicies([policy('document', '1')])
    expect(await next()).toMatchObject({
      removed: ['a'],
      changedPolicies: [{ etag: '1' }],
      removedPolicies: [],
    })
    registry.replacePolicies([])
    expect(await next()).toMatchObject({ changedPolicies: [], removedPolicies: ['document'] })
  })

  it('is told that an instance is gone which now belongs to another service', async () => {
    const { registry } = fresh()
    const [old, all] = [open(registry, { services: ['document'] }), open(registry)]
    registry.register(named('a'), 'serving', {})
    await Promise.all([old.next(), all.next()])
    registry.register(named('a', { service: 'analysis', incarnation: 2n }), 'serving', {})
    expect(await old.next()).toMatchObject({ changed: [], removed: ['a'] })
    expect(await all.next()).toMatchObject({ changed: [{ service: 'analysis' }], removed: [] })
  })

  it('gets a first answer when it resumes, also when there is nothing new', async () => {
    const { registry } = fresh()
    registry.register(named('a'), 'serving', {})
    expect(await open(registry, {}, 1n).next()).toMatchObject({ kind: 'delta', changed: [], revision: 1n })
  })
})

describe('watchers that need the same update', () => {
  it('get the same object, until something changes', () => {
    const { registry } = fresh()
    registry.register(named('a'), 'serving', {})
    const first = registry.updateSince('', 0n)
    expect(registry.updateSince('e0', 5n)).toBe(first)
    expect(registry.updateSince('', 0n, ['document'])).not.toBe(first)
    registry.register(named('b'), 'serving', {})
    expect(registry.updateSince('', 0n)).not.toBe(first)
  })
})

describe('policies', () => {
  it('get a revision each when they change, and none when they are read again', () => {
    const { registry, changes } = fresh()
    registry.replacePolicies([policy('a', '1'), policy('b', '1')])
    const before = registry.policies()
    expect(before.map(({ service, revision }) => [service, revision])).toEqual([
      ['a', 1n],
      ['b', 2n],
    ])
    registry.replacePolicies([policy('a', '1'), policy('b', '2'), policy('c', '1')])
    expect(registry.policies().map(({ revision }) => revision)).toEqual([1n, 3n, 4n])
    registry.replacePolicies([policy('c', '1')])
    expect(registry.revision()).toBe(6n)
    expect(changes.slice(-2)).toEqual([
      { kind: 'policy', service: 'a', policy: undefined },
      { kind: 'policy', service: 'b', policy: undefined },
    ])
  })

  it('that are read for the first time are told of with everything, also if there are none', async () => {
    const { registry, changes } = fresh('e1', { policiesPending: true })
    const { next } = open(registry)
    expect(await next()).toMatchObject({ kind: 'snapshot', policiesPending: true })
    const news = next()
    registry.replacePolicies([])
    expect(await news).toMatchObject({ kind: 'snapshot', policiesPending: false, policies: [] })
    expect(changes).toEqual([{ kind: 'policies_read' }])
    registry.replacePolicies([])
    expect(registry.revision()).toBe(1n)
  })
})

describe('a revision', () => {
  it('is acknowledged when all watchers with an identifier have applied it; others are not waited for', async () => {
    const { registry } = fresh()
    const [a, b, silent] = [
      open(registry, { watcherId: 'a' }),
      open(registry, { watcherId: 'b' }),
      open(registry),
    ]
    await Promise.all([a.next(), b.next(), silent.next()])
    registry.register(named('x'), 'serving', {})
    const applied = registry.whenAcknowledged(1n, 60_000)
    await Promise.all([a.next(), b.next()])
    registry.acknowledge('a', 'e1', 1n)
    registry.acknowledge('b', 'e0', 1n)
    registry.acknowledge('nobody', 'e1', 1n)
    registry.acknowledge('b', 'e1', 2n)
    expect(await waits(applied)).toBe(true)
    expect(registry.acknowledged()).toBe(0n)
    registry.acknowledge('b', 'e1', 1n)
    expect(await applied).toBe(true)
    expect(registry.acknowledged()).toBe(1n)
  })

  it('is not waited for by a watcher for whom it holds nothing, nor for one who leaves', async () => {
    const { registry } = fresh()
    const filtered = open(registry, { watcherId: 'f', services: ['analysis'] })
    const leaving = open(registry, { watcherId: 'l' })
    await Promise.all([filtered.next(), leaving.next()])
    registry.acknowledge('f', 'e1', 0n)
    const news = [filtered.next(), leaving.next()]
    registry.register(named('x'), 'serving', {})
    await news[1]
    const applied = registry.whenAcknowledged(1n, 60_000)
    expect(await waits(applied)).toBe(true)
    await leaving.end()
    expect(await applied).toBe(true)
    registry.close()
    await Promise.all(news)
  })

  it('holds nothing for a watcher only when it has applied what it was sent before', async () => {
    const { registry } = fresh()
    const { next } = open(registry, { watcherId: 'w', services: ['document'] })
    await next()
    registry.register(named('a'), 'serving', {})
    await next()
    const news = next()
    registry.register(named('x', { service: 'analysis' }), 'serving', {})
    await waits(news)
    expect(registry.acknowledged()).toBe(0n)
    registry.acknowledge('w', 'e1', 1n)
    expect(registry.acknowledged()).toBe(2n)
  })

  it('is given up after the wait', async () => {
    const { registry } = fresh()
    await open(registry, { watcherId: 'w' }).next()
    registry.register(named('a'), 'serving', {})
    expect(await registry.whenAcknowledged(1n, 1)).toBe(false)
  })
})
