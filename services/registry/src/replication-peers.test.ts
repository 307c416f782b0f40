import { fakeClock } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import type { Member } from './member.ts'
import { fresh, named } from './registry.fixture.ts'
import { createPeers } from './replication-peers.ts'

const TTL_MS = 15_000

const member = (instanceId: string, incarnation = 1n): Member => ({
  ...named(instanceId, { incarnation }),
  state: 'serving',
  health: 'healthy',
  responseTimeMs: 1,
  registeredAt: new Date(0),
  renewedAt: new Date(0),
  revision: 1n,
})

/** The remote leases that the registry would list, as `replica/id` with incarnation and end. */
function setUp() {
  const clock = fakeClock()
  const leases = new Map<string, { incarnation: bigint; endsAt: number }>()
  const peers = createPeers({
    leaseTtlMs: TTL_MS,
    monotonic: clock.now,
    registry: {
      adoptRemote: (replica, { instanceId, incarnation }, ttlMs) =>
        leases.set(`${replica}/${instanceId}`, { incarnation, endsAt: clock.now() + ttlMs }),
      dropRemote(replica, instanceId, incarnation) {
        const key = `${replica}/${instanceId}`
        if (leases.get(key)?.incarnation === incarnation) leases.delete(key)
      },
    },
  })
  const all = (revision: bigint, members: Member[], { replica = 'a', ttlMs = TTL_MS } = {}) =>
    peers.hear({ replica, revision, kind: 'all', members }, ttlMs)
  const changes = (revision: bigint, changed: Member[], removed: string[] = []) =>
    peers.hear({ replica: 'a', revision, kind: 'changes', changed, removed }, TTL_MS)
  return { clock, leases, peers, all, changes }
}

describe('leases of other replicas', () => {
  it('come and go with what their replica says', () => {
    const { leases, changes } = setUp()
    changes(1n, [member('x'), member('y')])
    expect([...leases.keys()]).toEqual(['a/x', 'a/y'])
    changes(2n, [], ['x', 'never heard of'])
    expect([...leases.keys()]).toEqual(['a/y'])
  })

  it('end when the whole state has them no more: the message that said so was lost', () => {
    const { leases, all } = setUp()
    all(1n, [member('x'), member('y')])
    all(4n, [member('y'), member('z')])
    expect([...leases.keys()]).toEqual(['a/y', 'a/z'])
  })

  it('are not ended by another replica', () => {
    const { leases, all } = setUp()
    all(1n, [member('x')])
    all(9n, [], { replica: 'b' })
    expect([...leases.keys()]).toEqual(['a/x'])
  })

  it('are renewed by the whole state, for the time that is left to a copy of it', () => {
    const { clock, leases, all } = setUp()
    all(1n, [member('x')], { ttlMs: 4_000 })
    expect(leases.get('a/x')?.endsAt).toBe(4_000)
    clock.advance(3_000)
    all(1n, [member('x')])
    expect(leases.get('a/x')?.endsAt).toBe(3_000 + TTL_MS)
  })

  it('are ended as the incarnation that was heard last', () => {
    const { leases, changes } = setUp()
    changes(1n, [member('x', 1n)])
    changes(2n, [member('x', 2n)])
    changes(3n, [], ['x'])
    expect(leases.size).toBe(0)
  })

  it('do not go back to an older state', () => {
    const { leases, all, changes } = setUp()
    changes(7n, [member('new')])
    all(6n, [member('old')], { ttlMs: 1_000 })
    expect([...leases.keys()]).toEqual(['a/new'])
  })

  it('are corrected after a long silence', () => {
    const { clock, leases, peers, all } = setUp()
    all(1n, [member('x')])
    clock.advance(10 * TTL_MS)
    peers.sweep()
    all(2n, [])
    expect(leases.size).toBe(0)
  })
})

describe('an instance that several replicas hold a lease of', () => {
  const suspect: Member = { ...member('x'), state: 'suspect' }

  function setUpRegistry() {
    const { registry, clock, states } = fresh()
    const peers = createPeers({ registry, leaseTtlMs: TTL_MS, monotonic: clock.now })
    let revision = 0n
    const say = (replica: string, changed: Member[], removed: string[] = []) =>
      peers.hear({ replica, revision: ++revision, kind: 'changes', changed, removed }, TTL_MS)
    return { clock, states, say }
  }

  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('is what the best of them say: first %s, then %s lets go', (first, second) => {
    const { states, say } = setUpRegistry()
    say('a', [member('x')])
    say('b', [member('x')])
    say(first, [suspect])
    expect(states()).toEqual({ x: 'serving' })
    say(first, [], ['x'])
    expect(states()).toEqual({ x: 'serving' })
    say(second, [suspect])
    expect(states()).toEqual({ x: 'suspect' })
    say(second, [], ['x'])
    expect(states()).toEqual({})
  })

  it('is not held by a replica that has been silent for half of its lease time', () => {
    const { clock, states, say } = setUpRegistry()
    say('a', [member('x')])
    clock.advance(TTL_MS / 2)
    say('b', [member('x')])
    say('b', [suspect])
    expect(states()).toEqual({ x: 'suspect' })
    say('b', [], ['x'])
    expect(states()).toEqual({})
  })

  it('is not held by who means an older process', () => {
    const { states, say } = setUpRegistry()
    say('a', [member('x', 1n)])
    say('b', [member('x', 2n)])
    say('b', [], ['x'])
    expect(states()).toEqual({})
  })
})

describe('peers', () => {
  it('count for one lease time after they were heard of, or their copy was written', () => {
    const { clock, peers, all } = setUp()
    all(1n, [])
    all(1n, [], { replica: 'b', ttlMs: 1_000 })
    expect(peers.count()).toBe(2)
    clock.advance(1_000)
    expect(peers.count()).toBe(1)
    clock.advance(TTL_MS - 1_000)
    expect(peers.count()).toBe(0)
  })

  it('that are long gone are forgotten with all that they said', () => {
    const { clock, leases, peers, all } = setUp()
    all(5n, [member('x')])
    clock.advance(3_600_000)
    peers.sweep()
    all(1n, [member('y')])
    expect([...leases.keys()]).toEqual(['a/x', 'a/y'])
  })
})
