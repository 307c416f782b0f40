import { fakeClock } from '@docmesh/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Description, Member } from './member.ts'
import { type Change, createRegistry, type Registry, type Update } from './registry.ts'

const TTL_MS = 15_000
const GRACE_MS = 2_000

function fresh(epoch = 'e1') {
  const clock = fakeClock(1_000_000)
  const registry = createRegistry({
    epoch,
    leaseTtlMs: TTL_MS,
    suspectGraceMs: GRACE_MS,
    monotonic: clock.now,
    clock: () => new Date(clock.now()),
  })
  const changes: Change[] = []
  registry.onChange((change) => changes.push(change))
  const after = (ms: number): void => {
    clock.advance(ms)
    registry.sweep()
  }
  const states = () =>
    Object.fromEntries(registry.members().map(({ instanceId, state }) => [instanceId, state]))
  return { registry, clock, changes, after, states }
}

const named = (instanceId: string, fields: Partial<Description> = {}): Description => ({
  service: 'document',
  instanceId,
  incarnation: 1n,
  address: '127.0.0.1:1',
  adminAddress: '',
  version: '1',
  zone: '',
  grpcServices: [],
  dependencies: [],
  capabilities: [],
  weight: 0,
  labels: {},
  ...fields,
})

const stale = expect.objectContaining({ reason: 'STALE_INCARNATION' })
const unknown = expect.objectContaining({ reason: 'INSTANCE_NOT_FOUND' })

describe('a lease', () => {
  it('ends when it is not renewed for its time, and not before', () => {
    const { registry, after, changes, states } = fresh()
    registry.register(named('a'), 'serving', {})
    after(TTL_MS - 1)
    expect(states()).toEqual({ a: 'serving' })
    after(1)
    expect(states()).toEqual({})
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'expired', member: { instanceId: 'a' } })
    expect(() => registry.renew('a', 1n)).toThrow(unknown)
  })

  it('lasts as long as it is renewed, which is news for nobody', () => {
    const { registry, after, clock, states } = fresh()
    registry.register(named('a'), 'serving', {})
    for (let i = 0; i < 10; i++) {
      after(TTL_MS - 1)
      expect(registry.renew('a', 1n).renewedAt).toEqual(new Date(clock.now()))
    }
    expect(states()).toEqual({ a: 'serving' })
    expect(registry.revision()).toBe(1n)
  })

  it('makes the instance suspect when its stream breaks, and ends after the grace', () => {
    const { registry, after, changes, states } = fresh()
    const session = {}
    registry.register(named('a'), 'serving', session)
    registry.register(named('b'), 'serving', {})
    registry.detach(session)
    expect(states()).toEqual({ a: 'suspect', b: 'serving' })
    after(GRACE_MS - 1)
    expect(states()).toHaveProperty('a')
    after(1)
    expect(states()).toEqual({ b: 'serving' })
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'stream_lost' })
  })

  it('is not lengthened by a broken stream', () => {
    const { registry, after, states } = fresh()
    const session = {}
    registry.register(named('a'), 'serving', session)
    after(TTL_MS - 500)
    registry.detach(session)
    after(500)
    expect(states()).toEqual({})
  })

  it('goes on when the instance comes back within the grace, with what is known of it', () => {
    const { registry, after, states } = fresh()
    const first = {}
    const { registeredAt } = registry.register(named('a'), 'serving', first)
    registry.setHealth('a', 1n, 'healthy', 3)
    registry.detach(first)
    after(GRACE_MS - 1)
    const back = registry.register(named('a', { version: '2' }), 'serving', {})
    expect(back).toMatchObject({ registeredAt, health: 'healthy', version: '2', state: 'serving' })
    registry.detach(first)
    after(TTL_MS - 1)
    expect(states()).toEqual({ a: 'serving' })
  })

  it('of a suspect instance that renews without a stream goes on as what the instance said last', () => {
    const { registry, after, changes, states } = fresh()
    const session = {}
    registry.register(named('a'), 'starting', session)
    registry.renew('a', 1n, 'serving')
    registry.detach(session)
    registry.renew('a', 1n)
    after(TTL_MS - 1)
    expect(states()).toEqual({ a: 'serving' })
    after(1)
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'expired' })
  })

  it('ends at once when the instance deregisters; a second time is no error', () => {
    const { registry, changes, states } = fresh()
    registry.register(named('a'), 'serving', {})
    registry.deregister('a', 1n)
    expect(states()).toEqual({})
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'deregistered' })
    const revision = registry.revision()
    registry.deregister('a', 1n)
    registry.deregister('nobody', 1n)
    expect(registry.revision()).toBe(revision)
  })
})

describe('an old incarnation', () => {
  it('can neither register, renew nor deregister', () => {
    const { registry } = fresh()
    registry.register(named('a', { incarnation: 2n, version: 'new' }), 'serving', {})
    const before = { revision: registry.revision(), members: registry.members() }
    expect(() => registry.register(named('a', { incarnation: 1n }), 'serving', {})).toThrow(stale)
    expect(() => registry.renew('a', 1n)).toThrow(stale)
    expect(() => registry.deregister('a', 1n)).toThrow(stale)
    registry.setHealth('a', 1n, 'unhealthy', 1)
    expect({ revision: registry.revision(), members: registry.members() }).toEqual(before)
  })

  it('that loses its stream does not make its successor suspect', () => {
    const { registry, states } = fresh()
    const old = {}
    registry.register(named('a'), 'serving', old)
    registry.register(named('a', { incarnation: 2n }), 'serving', {})
    registry.detach(old)
    expect(states()).toEqual({ a: 'serving' })
  })

  it('leaves nothing to its successor: its health is unknown', () => {
    const { registry, clock } = fresh()
    registry.register(named('a'), 'serving', {})
    registry.setHealth('a', 1n, 'unhealthy', 7)
    clock.advance(1)
    const successor = registry.register(named('a', { incarnation: 2n }), 'serving', {})
    expect(successor).toMatchObject({
      health: 'unknown',
      responseTimeMs: undefined,
      registeredAt: new Date(clock.now()),
    })
  })

  it('is told apart from one that is not registered yet', () => {
    const { registry } = fresh()
    registry.register(named('a'), 'serving', {})
    expect(() => registry.renew('a', 2n)).toThrow(unknown)
    expect(() => registry.renew('b', 1n)).toThrow(unknown)
  })
})

describe('what changed', () => {
  it('is numbered by one revision per change, and by none where nothing changed', () => {
    const { registry, changes } = fresh()
    const session = {}
    const revisions: bigint[] = []
    for (const act of [
      () => registry.register(named('a'), 'starting', session),
      () => registry.renew('a', 1n, 'starting'),
      () => registry.renew('a', 1n, 'serving'),
      () => registry.setHealth('a', 1n, 'healthy', 3),
      () => registry.setHealth('a', 1n, 'healthy', 4),
      () => registry.drain('a'),
      () => registry.drain('a'),
      () => registry.detach(session),
      () => registry.detach(session),
      () => registry.deregister('a', 1n),
    ]) {
      act()
      revisions.push(registry.revision())
    }
    expect(revisions).toEqual([1n, 1n, 2n, 3n, 3n, 4n, 4n, 5n, 5n, 6n])
    expect(changes.map(({ kind, member }) => [kind, member.revision])).toEqual([
      ['joined', 1n],
      ['changed', 2n],
      ['changed', 3n],
      ['changed', 4n],
      ['changed', 5n],
      ['left', 5n],
    ])
  })

  it('is a delta from any revision that is remembered', () => {
    const { registry } = fresh()
    registry.register(named('a'), 'serving', {})
    registry.register(named('b'), 'serving', {})
    registry.deregister('a', 1n)
    const ids = (update: Update) =>
      update.kind === 'delta' && [update.changed.map(({ instanceId }) => instanceId), update.removed]
    expect(ids(registry.updateSince('e1', 1n))).toEqual([['b'], ['a']])
    expect(ids(registry.updateSince('e1', 2n))).toEqual([[], ['a']])
    expect(ids(registry.updateSince('e1', 3n))).toEqual([[], []])
  })

  it('does not name an instance as gone that has come back', () => {
    const { registry } = fresh()
    registry.register(named('a'), 'serving', {})
    registry.deregister('a', 1n)
    registry.register(named('a'), 'serving', {})
    expect(registry.updateSince('e1', 1n)).toMatchObject({ changed: [{ instanceId: 'a' }], removed: [] })
  })

  it('is everything for a watcher of another epoch, from the future, or too far behind', () => {
    const { registry } = fresh()
    for (let i = 0; i < 1_001; i++) {
      registry.register(named('a'), 'serving', {})
      registry.deregister('a', 1n)
    }
    registry.register(named('b'), 'serving', {})
    expect(registry.updateSince('e0', 5n).kind).toBe('snapshot')
    expect(registry.updateSince('e1', 99_999n).kind).toBe('snapshot')
    expect(registry.updateSince('e1', 1n)).toMatchObject({ kind: 'snapshot', members: [{ instanceId: 'b' }] })
    expect(registry.updateSince('e1', 2n).kind).toBe('delta')
  })
})

describe('a watch', () => {
  const open = (registry: Registry, epoch = '', revision = 0n) => {
    const leave = new AbortController()
    const updates = registry.watch(epoch, revision, leave.signal)[Symbol.asyncIterator]()
    return { leave, next: () => updates.next() }
  }
  /** Whether the promise is still open once everything that can happen has happened. */
  const waits = async (promise: Promise<unknown>) => {
    const pending = Symbol('pending')
    const turn = new Promise((resolve) => setImmediate(resolve, pending))
    return (await Promise.race([promise, turn])) === pending
  }

  it('begins with everything, or with what changed since the revision of its watcher', async () => {
    const { registry } = fresh()
    registry.register(named('a'), 'serving', {})
    registry.register(named('b'), 'serving', {})
    expect((await open(registry).next()).value).toMatchObject({ kind: 'snapshot', revision: 2n })
    expect((await open(registry, 'e1', 1n).next()).value).toMatchObject({
      kind: 'delta',
      changed: [{ instanceId: 'b' }],
    })
  })

  it('waits for news, and sends it at once', async () => {
    const { registry } = fresh()
    const { next } = open(registry)
    await next()
    const news = next()
    expect(await waits(news)).toBe(true)
    registry.register(named('a'), 'serving', {})
    expect((await news).value).toMatchObject({ kind: 'delta', changed: [{ instanceId: 'a' }] })
  })

  it('sends a slow watcher the newest state, with nothing of what was in between', async () => {
    const { registry } = fresh()
    const { next } = open(registry)
    await next()
    for (let i = 0; i < 50; i++) {
      registry.register(named('a', { version: String(i) }), 'serving', {})
      registry.register(named(`short-lived-${i}`), 'serving', {})
      registry.deregister(`short-lived-${i}`, 1n)
    }
    const { value } = await next()
    expect(value).toMatchObject({ kind: 'delta', changed: [{ instanceId: 'a', version: '49' }] })
    expect(await waits(next())).toBe(true)
  })

  it('counts as a watcher from its beginning to its end, waiting or not', async () => {
    const { registry } = fresh()
    const [waiting, busy] = [open(registry), open(registry)]
    expect(registry.watchers()).toBe(0)
    await Promise.all([waiting.next(), busy.next()])
    const last = waiting.next()
    expect(registry.watchers()).toBe(2)
    waiting.leave.abort()
    expect((await last).done).toBe(true)
    expect(registry.watchers()).toBe(1)
    busy.leave.abort()
    expect((await busy.next()).done).toBe(true)
    expect(registry.watchers()).toBe(0)
  })

  it('ends when the registry closes, whether its watcher waits, is busy, or comes too late', async () => {
    const { registry } = fresh()
    const [waiting, busy, late] = [open(registry), open(registry), open(registry)]
    await Promise.all([waiting.next(), busy.next()])
    const last = waiting.next()
    registry.close()
    expect(await Promise.all([last, busy.next(), late.next()])).toEqual(
      Array.from({ length: 3 }, () => ({ done: true, value: undefined })),
    )
  })

  it('leaves a watcher of an earlier life what it has until the instances had time to register again', async () => {
    const { registry, after } = fresh('e2')
    const known = open(registry, 'e1', 40n).next()
    registry.register(named('a'), 'serving', {})
    after(2_999)
    expect(await waits(known)).toBe(true)
    registry.register(named('b'), 'serving', {})
    after(1)
    expect((await known).value).toMatchObject({
      kind: 'snapshot',
      members: [{ instanceId: 'a' }, { instanceId: 'b' }],
    })
    expect((await open(registry, 'e1', 40n).next()).value).toMatchObject({ kind: 'snapshot' })
  })

  it('of an earlier life ends while it waits, when its watcher leaves or the registry closes', async () => {
    const { registry } = fresh('e2')
    const [leaving, left] = [open(registry, 'e1', 40n), open(registry, 'e1', 40n)]
    const ends = [leaving.next(), left.next()]
    leaving.leave.abort()
    registry.close()
    expect((await Promise.all(ends)).every(({ done }) => done)).toBe(true)
  })
})

describe('whatever happens', () => {
  const ids = fc.constantFrom('a', 'b', 'c')
  const incarnations = fc.bigInt({ min: 1n, max: 3n })
  const step = fc.oneof(
    fc.record({
      do: fc.constant('register' as const),
      id: ids,
      incarnation: incarnations,
      session: fc.nat(3),
    }),
    fc.record({ do: fc.constant('renew' as const), id: ids, incarnation: incarnations }),
    fc.record({ do: fc.constant('deregister' as const), id: ids, incarnation: incarnations }),
    fc.record({ do: fc.constant('health' as const), id: ids, incarnation: incarnations, well: fc.boolean() }),
    fc.record({ do: fc.constant('detach' as const), session: fc.nat(3) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: TTL_MS }) }),
    fc.record({ do: fc.constant('watch' as const), watcher: fc.nat(2) }),
  )

  /** What leases there must be, in the simplest words. */
  function model() {
    const leases = new Map<string, { incarnation: bigint; session: number | undefined; until: number }>()
    const fits = (id: string, incarnation: bigint) => leases.get(id)?.incarnation === incarnation
    const isNewest = (id: string, incarnation: bigint) => (leases.get(id)?.incarnation ?? 0n) <= incarnation
    return { leases, fits, isNewest }
  }

  const essence = (members: Iterable<Member>) =>
    [...members]
      .map(({ instanceId, incarnation, state, health, revision }) => ({
        instanceId,
        incarnation,
        state,
        health,
        revision,
      }))
      .toSorted((a, b) => a.instanceId.localeCompare(b.instanceId))

  it('exactly the leases that must be there are, and a watcher that applies the updates has the same', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { registry, clock } = fresh()
        const { leases, fits, isNewest } = model()
        const sessions = Array.from({ length: 4 }, () => ({}))
        const watchers = Array.from({ length: 3 }, () => ({
          epoch: '',
          revision: 0n,
          seen: new Map<string, Member>(),
        }))
        const follow = (watcher: (typeof watchers)[number]): void => {
          const update = registry.updateSince(watcher.epoch, watcher.revision)
          if (update.kind === 'snapshot') watcher.seen.clear()
          for (const member of update.kind === 'snapshot' ? update.members : update.changed)
            watcher.seen.set(member.instanceId, member)
          if (update.kind === 'delta') for (const id of update.removed) watcher.seen.delete(id)
          watcher.epoch = registry.epoch
          watcher.revision = update.revision
        }
        const attempt = (allowed: boolean, act: () => unknown): void => {
          if (allowed) act()
          else expect(act).toThrow()
        }

        for (const each of steps) {
          const before = registry.revision()
          switch (each.do) {
            case 'register': {
              const { id, incarnation, session } = each
              attempt(isNewest(id, incarnation), () =>
                registry.register(named(id, { incarnation }), 'serving', sessions[session]),
              )
              if (isNewest(id, incarnation))
                leases.set(id, { incarnation, session, until: clock.now() + TTL_MS })
              break
            }
            case 'renew': {
              attempt(fits(each.id, each.incarnation), () => registry.renew(each.id, each.incarnation))
              const lease = leases.get(each.id)
              if (lease && fits(each.id, each.incarnation)) lease.until = clock.now() + TTL_MS
              break
            }
            case 'deregister':
              attempt(isNewest(each.id, each.incarnation), () =>
                registry.deregister(each.id, each.incarnation),
              )
              if (isNewest(each.id, each.incarnation)) leases.delete(each.id)
              break
            case 'health':
              registry.setHealth(each.id, each.incarnation, each.well ? 'healthy' : 'unhealthy', 1)
              break
            case 'detach':
              registry.detach(sessions[each.session] ?? {})
              for (const lease of leases.values()) {
                if (lease.session !== each.session) continue
                lease.session = undefined
                lease.until = Math.min(lease.until, clock.now() + GRACE_MS)
              }
              break
            case 'wait':
              clock.advance(each.ms)
              registry.sweep()
              for (const [id, { until }] of leases) if (until <= clock.now()) leases.delete(id)
              break
            case 'watch': {
              const watcher = watchers[each.watcher]
              if (watcher) follow(watcher)
            }
          }
          expect(registry.revision()).toBeGreaterThanOrEqual(before)
          const listed = registry.members().map(({ instanceId, incarnation }) => [instanceId, incarnation])
          expect(new Map(listed as [string, bigint][])).toEqual(
            new Map([...leases].map(([id, { incarnation }]) => [id, incarnation])),
          )
        }
        for (const watcher of watchers) {
          follow(watcher)
          expect(essence(watcher.seen.values())).toEqual(essence(registry.members()))
        }
      }),
      { numRuns: 300 },
    )
  })
})
