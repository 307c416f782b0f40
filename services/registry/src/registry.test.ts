import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Member } from './member.ts'
import { fresh, GRACE_MS, named, TTL_MS } from './registry.fixture.ts'
import type { Registry, Update } from './registry.ts'

const because = (reason: string) => expect.objectContaining({ reason })
const stale = because('STALE_INCARNATION')
const unknown = because('INSTANCE_NOT_FOUND')
const mismatch = because('LEASE_MISMATCH')
const exists = because('INSTANCE_EXISTS')

describe('a lease', () => {
  it('ends when it is not renewed for its time, and not before', () => {
    const { registry, after, changes, states, inCrowd } = fresh()
    const stream = {}
    inCrowd()
    registry.register(named('a'), 'serving', stream)
    after(TTL_MS - 1)
    expect(states()).toEqual({ a: 'serving' })
    after(1)
    expect(states()).toEqual({})
    expect(changes.find(({ kind }) => kind === 'left')).toMatchObject({
      reason: 'expired',
      member: { instanceId: 'a' },
    })
    expect(() => registry.heartbeat(stream)).toThrow(unknown)
  })

  it('lasts as long as it is renewed, which is news for nobody', () => {
    const { registry, after, clock, states } = fresh()
    const stream = {}
    const { token } = registry.register(named('a'), 'serving', stream)
    for (let i = 0; i < 10; i++) {
      after(TTL_MS - 1)
      const renewedAt = new Date(clock.now())
      if (i % 2) expect(registry.heartbeat(stream)).toMatchObject({ renewedAt })
      else expect(registry.renew('a', 1n, token)).toMatchObject({ token, member: { renewedAt } })
    }
    expect(states()).toEqual({ a: 'serving' })
    expect(registry.revision()).toBe(1n)
  })

  it('makes the instance suspect when its stream breaks, and ends after the grace', () => {
    const { registry, after, changes, states } = fresh()
    const stream = {}
    registry.register(named('a'), 'serving', stream)
    registry.register(named('b'), 'serving', {})
    registry.detach(stream)
    expect(states()).toEqual({ a: 'suspect', b: 'serving' })
    after(GRACE_MS - 1)
    expect(states()).toHaveProperty('a')
    after(1)
    expect(states()).toEqual({ b: 'serving' })
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'stream_lost', own: true })
  })

  it('is not lengthened by a broken stream', () => {
    const { registry, after, states, inCrowd } = fresh()
    const stream = {}
    inCrowd()
    registry.register(named('a'), 'serving', stream)
    after(TTL_MS - 500)
    registry.detach(stream)
    after(500)
    expect(states()).toEqual({})
  })

  it('goes on when the instance comes back within the grace, with what is known of it', () => {
    const { registry, after, states, inCrowd } = fresh()
    const first = {}
    inCrowd()
    const { member, token } = registry.register(named('a'), 'serving', first)
    registry.setHealth('a', 1n, 'healthy', 3)
    registry.detach(first)
    after(GRACE_MS - 1)
    const back = registry.register(named('a', { version: '2' }), 'serving', {}, token)
    expect(back).toMatchObject({
      token,
      member: { registeredAt: member.registeredAt, health: 'healthy', version: '2', state: 'serving' },
    })
    registry.detach(first)
    after(TTL_MS - 1)
    expect(states()).toEqual({ a: 'serving' })
  })

  it('of a suspect instance that renews without a stream goes on as what the instance said last', () => {
    const { registry, after, changes, states, inCrowd } = fresh()
    const stream = {}
    inCrowd()
    const { token } = registry.register(named('a'), 'starting', stream)
    registry.heartbeat(stream, { state: 'serving' })
    registry.detach(stream)
    registry.renew('a', 1n, token)
    after(TTL_MS - 1)
    expect(states()).toEqual({ a: 'serving' })
    after(1)
    expect(changes.find(({ kind }) => kind === 'left')).toMatchObject({ reason: 'expired' })
  })

  it('ends at once when the instance deregisters; a second time is no error', () => {
    const { registry, changes, states } = fresh()
    const { token } = registry.register(named('a'), 'serving', {})
    registry.deregister('a', 1n, token)
    expect(states()).toEqual({})
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'deregistered' })
    const revision = registry.revision()
    registry.deregister('a', 1n, token)
    registry.deregister('nobody', 1n, '')
    expect(registry.revision()).toBe(revision)
  })
})

describe('the token of a lease', () => {
  it('is another one for each lease, and no part of what is listed', () => {
    const { registry, changes } = fresh()
    const tokens = ['a', 'b'].map((id) => registry.register(named(id), 'serving', {}).token)
    expect(new Set(tokens).size).toBe(2)
    for (const token of tokens) {
      expect(Buffer.from(token, 'base64url')).toHaveLength(16)
      expect(
        JSON.stringify([registry.members(), registry.updateSince('', 0n), changes], (_, value) =>
          typeof value === 'bigint' ? String(value) : value,
        ),
      ).not.toContain(token)
    }
  })

  it.each(['', 'forged', 'A'.repeat(22)])('is needed to renew and to deregister: "%s" is not it', (token) => {
    const { registry, states } = fresh()
    registry.register(named('a'), 'serving', {})
    expect(() => registry.renew('a', 1n, token)).toThrow(mismatch)
    expect(() => registry.deregister('a', 1n, token)).toThrow(mismatch)
    expect(() => registry.deregister('a', 2n, token)).toThrow(mismatch)
    expect(states()).toEqual({ a: 'serving' })
  })

  it('is needed to take the lease over: from a holder who is connected, and from one who may come back', () => {
    const { registry, after } = fresh()
    const holder = {}
    registry.register(named('b'), 'serving', {})
    registry.register(named('a'), 'serving', holder)
    const somebody = () => registry.register(named('a'), 'serving', {}, 'forged')
    expect(somebody).toThrow(exists)
    registry.detach(holder)
    expect(somebody).toThrow(mismatch)
    after(GRACE_MS)
    expect(somebody().member).toMatchObject({ instanceId: 'a' })
  })

  it('is not needed where a lease has run out and only its instance is kept: its owner may never have got the token', () => {
    const { registry, after, states } = fresh()
    const holder = {}
    registry.register(named('a'), 'serving', holder)
    const again = (token: string) => registry.register(named('a'), 'serving', {}, token)
    registry.detach(holder)
    after(GRACE_MS - 1)
    expect(() => again('')).toThrow(mismatch)
    after(1)
    expect(states()).toEqual({ a: 'suspect' })
    const { token } = again('')
    expect(states()).toEqual({ a: 'serving' })
    expect(() => registry.deregister('a', 1n, '')).toThrow(mismatch)
    expect(again(token).token).toBe(token)
  })

  it('of a lease that was given to somebody else after it ran out is worth nothing', () => {
    const { registry, after } = fresh()
    const before = registry.register(named('a'), 'serving', {})
    after(TTL_MS)
    const ends: string[] = []
    registry.register(named('a'), 'serving', { end: ({ reason }) => ends.push(reason) })
    expect(() => registry.renew('a', 1n, before.token)).toThrow(mismatch)
    expect(() => registry.register(named('a'), 'serving', {}, before.token)).toThrow(exists)
    expect(ends).toEqual([])
  })

  it('takes the lease over from a stream that has not been found broken yet, with nothing to see', () => {
    const { registry } = fresh()
    const ends: string[] = []
    const { token } = registry.register(named('a'), 'serving', {
      end: ({ reason }) => ends.push(reason),
    })
    const revision = registry.revision()
    registry.register(named('a'), 'serving', {}, token)
    expect([registry.revision(), ends]).toEqual([revision, ['CANCELLED']])
  })

  it('is not asked of the stream that holds the lease, which can describe its instance anew', () => {
    const { registry } = fresh()
    const stream = {}
    registry.register(named('a'), 'starting', stream)
    expect(registry.register(named('a', { weight: 7 }), 'serving', stream).member).toMatchObject({
      weight: 7,
    })
    expect(() => registry.register(named('b'), 'serving', stream)).toThrow(because('INVALID_REQUEST'))
  })

  it('of a replica that has forgotten the lease is as good as none', () => {
    const { registry } = fresh('e2')
    const before = 'A'.repeat(22)
    expect(() => registry.renew('a', 1n, before)).toThrow(unknown)
    expect(registry.register(named('a'), 'serving', {}, before).token).not.toBe(before)
  })
})

describe('an old incarnation', () => {
  it('can neither register, renew nor deregister', () => {
    const { registry } = fresh()
    const { token } = registry.register(named('a', { incarnation: 2n, version: 'new' }), 'serving', {})
    const before = { revision: registry.revision(), members: registry.members() }
    expect(() => registry.register(named('a', { incarnation: 1n }), 'serving', {}, token)).toThrow(stale)
    expect(() => registry.renew('a', 1n, token)).toThrow(stale)
    expect(() => registry.deregister('a', 1n, token)).toThrow(stale)
    registry.setHealth('a', 1n, 'unhealthy', 1)
    registry.adoptRemote('r2', { ...(before.members[0] as Member), incarnation: 1n }, TTL_MS)
    expect({ revision: registry.revision(), members: registry.members() }).toEqual(before)
  })

  it('is told that it was replaced, and its stream means nothing any more', () => {
    const { registry, states, changes } = fresh()
    const ends: string[] = []
    const old = { end: ({ reason }: { reason: string }) => ends.push(reason) }
    registry.register(named('a'), 'serving', old)
    registry.register(named('a', { incarnation: 2n }), 'serving', {})
    expect(ends).toEqual(['STALE_INCARNATION'])
    expect(changes.slice(1)).toMatchObject([
      { kind: 'left', reason: 'replaced', member: { incarnation: 1n } },
      { kind: 'joined', member: { incarnation: 2n } },
    ])
    registry.detach(old)
    expect(() => registry.heartbeat(old)).toThrow(stale)
    expect(states()).toEqual({ a: 'serving' })
  })

  it('leaves nothing to its successor: its health is unknown', () => {
    const { registry, clock } = fresh()
    registry.register(named('a'), 'serving', {})
    registry.setHealth('a', 1n, 'unhealthy', 7)
    clock.advance(1)
    const successor = registry.register(named('a', { incarnation: 2n }), 'serving', {})
    expect(successor.member).toMatchObject({
      health: 'unknown',
      responseTimeMs: undefined,
      registeredAt: new Date(clock.now()),
    })
  })

  it('is told apart from one that is not registered yet', () => {
    const { registry } = fresh()
    const { token } = registry.register(named('a'), 'serving', {})
    expect(() => registry.renew('a', 2n, token)).toThrow(unknown)
    expect(() => registry.renew('b', 1n, token)).toThrow(unknown)
  })
})

describe('an event loop that lags', () => {
  it('makes an instance degraded, whatever its checks find, until it lags no more', () => {
    const { registry, members } = fresh('e1', { degradedLagMs: 1_000 })
    const stream = {}
    registry.register(named('a'), 'serving', stream)
    const health = () => members()[0]?.health
    const seen = [
      () => registry.setHealth('a', 1n, 'healthy', 3),
      () => registry.heartbeat(stream, { lagMs: 1_000 }),
      () => registry.heartbeat(stream, { lagMs: 1_001 }),
      () => registry.setHealth('a', 1n, 'healthy', 4),
      () => registry.heartbeat(stream, { state: 'serving' }),
      () => registry.setHealth('a', 1n, 'unhealthy', 5),
      () => registry.setHealth('a', 1n, 'healthy', 6),
      () => registry.heartbeat(stream, { lagMs: 5 }),
    ].map((act) => {
      act()
      return health()
    })
    expect(seen).toEqual([
      'healthy',
      'healthy',
      'degraded',
      'degraded',
      'degraded',
      'unhealthy',
      'degraded',
      'healthy',
    ])
    expect(members()[0]?.responseTimeMs).toBe(6)
  })
})

describe('an instance that drains', () => {
  it('is told, and stays so whatever it says of itself, also when it comes back', () => {
    const { registry, states } = fresh()
    const graces: (number | undefined)[] = []
    const stream = { drain: (graceMs: number | undefined) => graces.push(graceMs) }
    const { token } = registry.register(named('a'), 'serving', stream)
    expect(registry.drain('a', 5_000).state).toBe('draining')
    registry.heartbeat(stream, { state: 'serving' })
    registry.detach(stream)
    registry.register(named('a'), 'serving', {}, token)
    expect([states(), graces]).toEqual([{ a: 'draining' }, [5_000]])
    expect(() => registry.drain('b')).toThrow(unknown)
  })

  it('is told when it comes back if it was between two streams, and no more once it says so itself', () => {
    const { registry } = fresh()
    const graces: (number | undefined)[] = []
    const stream = () => ({ drain: (graceMs: number | undefined) => graces.push(graceMs) })
    const first = stream()
    const { token } = registry.register(named('a'), 'serving', first)
    registry.detach(first)
    registry.drain('a', 5_000)
    expect(graces).toEqual([])
    registry.register(named('a'), 'serving', stream(), token)
    expect(graces).toEqual([5_000])
    registry.register(named('a'), 'draining', stream(), token)
    expect(graces).toEqual([5_000])
  })

  it('is a new one as a newer process', () => {
    const { registry, states } = fresh()
    registry.register(named('a'), 'draining', {})
    registry.register(named('a', { incarnation: 2n }), 'serving', {})
    expect(states()).toEqual({ a: 'serving' })
  })
})

describe('a registry that closes', () => {
  it('takes the end of its streams, and the silence after it, for no news of the instances', () => {
    const { registry, changes, after, states } = fresh()
    const streams = [{}, {}, {}]
    for (const [at, stream] of streams.entries()) registry.register(named(`i${at}`), 'serving', stream)
    changes.length = 0
    registry.close()
    for (const stream of streams) registry.detach(stream)
    after(GRACE_MS)
    after(TTL_MS)
    expect([changes, states()]).toEqual([[], { i0: 'serving', i1: 'serving', i2: 'serving' }])
  })

  it('still hears who leaves', () => {
    const { registry, states } = fresh()
    const { token } = registry.register(named('a'), 'serving', {})
    registry.close()
    registry.deregister('a', 1n, token)
    expect(states()).toEqual({})
  })
})

describe('what changed', () => {
  it('is numbered by one revision per change, and by none where nothing changed', () => {
    const { registry, changes } = fresh()
    const session = {}
    const revisions: bigint[] = []
    let token = ''
    for (const act of [
      () => {
        token = registry.register(named('a'), 'starting', session).token
      },
      () => registry.heartbeat(session, { state: 'starting' }),
      () => registry.heartbeat(session, { state: 'serving' }),
      () => registry.setHealth('a', 1n, 'healthy', 3),
      () => registry.setHealth('a', 1n, 'healthy', 4),
      () => registry.drain('a'),
      () => registry.drain('a'),
      () => registry.detach(session),
      () => registry.detach(session),
      () => registry.deregister('a', 1n, token),
    ]) {
      act()
      revisions.push(registry.revision())
    }
    expect(revisions).toEqual([1n, 1n, 2n, 3n, 3n, 4n, 4n, 5n, 5n, 6n])
    expect(changes.map((change) => 'member' in change && [change.kind, change.member.revision])).toEqual([
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
    const { token } = registry.register(named('a'), 'serving', {})
    registry.register(named('b'), 'serving', {})
    registry.deregister('a', 1n, token)
    const ids = (update: Update) =>
      update.kind === 'delta' && [update.changed.map(({ instanceId }) => instanceId), update.removed]
    expect(ids(registry.updateSince('e1', 1n))).toEqual([['b'], ['a']])
    expect(ids(registry.updateSince('e1', 2n))).toEqual([[], ['a']])
    expect(ids(registry.updateSince('e1', 3n))).toEqual([[], []])
  })

  it('does not name an instance as gone that has come back', () => {
    const { registry } = fresh()
    registry.deregister('a', 1n, registry.register(named('a'), 'serving', {}).token)
    registry.register(named('a'), 'serving', {})
    expect(registry.updateSince('e1', 1n)).toMatchObject({ changed: [{ instanceId: 'a' }], removed: [] })
  })

  it('is everything for a watcher of another epoch, from the future, or too far behind', () => {
    const { registry } = fresh()
    for (let i = 0; i < 1_001; i++) {
      registry.deregister('a', 1n, registry.register(named('a'), 'serving', {}).token)
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
    const stream = {}
    await next()
    for (let i = 0; i < 50; i++) {
      registry.register(named('a', { version: String(i) }), 'serving', stream)
      const { token } = registry.register(named(`short-lived-${i}`), 'serving', {})
      registry.deregister(`short-lived-${i}`, 1n, token)
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
      token: fc.boolean(),
    }),
    fc.record({ do: fc.constant('heartbeat' as const), id: ids }),
    fc.record({ do: fc.constant('renew' as const), id: ids, incarnation: incarnations }),
    fc.record({ do: fc.constant('deregister' as const), id: ids, incarnation: incarnations }),
    fc.record({ do: fc.constant('health' as const), id: ids, incarnation: incarnations, well: fc.boolean() }),
    fc.record({ do: fc.constant('detach' as const), id: ids }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: TTL_MS }) }),
    fc.record({ do: fc.constant('watch' as const), watcher: fc.nat(2) }),
  )

  interface Modelled {
    readonly incarnation: bigint
    readonly token: string
    stream: object | undefined
    until: number
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
        const { registry, clock, members, inCrowd } = fresh()
        const leases = new Map<string, Modelled>()
        inCrowd()
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
              const { id, incarnation } = each
              const known = leases.get(id)
              const same = known?.incarnation === incarnation
              const token = each.token ? (known?.token ?? 'forgotten') : ''
              const stream = {}
              attempt((known?.incarnation ?? 0n) < incarnation || (same && each.token), () => {
                const granted = registry.register(named(id, { incarnation }), 'serving', stream, token)
                const until = clock.now() + TTL_MS
                leases.set(id, { incarnation, token: granted.token, stream, until })
                expect(granted.token === known?.token).toBe(same)
              })
              break
            }
            case 'heartbeat': {
              const lease = leases.get(each.id)
              if (!lease?.stream) break
              registry.heartbeat(lease.stream)
              lease.until = clock.now() + TTL_MS
              break
            }
            case 'renew': {
              const lease = leases.get(each.id)
              attempt(lease?.incarnation === each.incarnation, () => {
                registry.renew(each.id, each.incarnation, lease?.token ?? '')
                if (lease) lease.until = clock.now() + TTL_MS
              })
              break
            }
            case 'deregister': {
              const lease = leases.get(each.id)
              attempt((lease?.incarnation ?? 0n) <= each.incarnation, () => {
                registry.deregister(each.id, each.incarnation, lease?.token ?? '')
                leases.delete(each.id)
              })
              break
            }
            case 'health':
              registry.setHealth(each.id, each.incarnation, each.well ? 'healthy' : 'unhealthy', 1)
              break
            case 'detach': {
              const lease = leases.get(each.id)
              if (!lease?.stream) break
              registry.detach(lease.stream)
              lease.stream = undefined
              lease.until = Math.min(lease.until, clock.now() + GRACE_MS)
              break
            }
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
          const listed = members().map(({ instanceId, incarnation }) => [instanceId, incarnation])
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
