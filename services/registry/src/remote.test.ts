import { describe, expect, it } from 'vitest'
import type { Description, Member } from './member.ts'
import { fresh, GRACE_MS, named, TTL_MS } from './registry.fixture.ts'

/** An instance as another replica tells of it. */
const told = (instanceId: string, fields: Partial<Member> = {}, of: Partial<Description> = {}): Member => ({
  ...fresh().registry.register(named(instanceId, of), 'serving', {}).member,
  ...fields,
})

describe('a lease of another replica', () => {
  it('lists the instance with a revision of this one, and is not its own', () => {
    const { registry, changes } = fresh()
    registry.adoptRemote('r2', told('a', { revision: 77n }), TTL_MS)
    expect(registry.members()).toMatchObject([{ instanceId: 'a', state: 'serving', revision: 1n }])
    expect(registry.ownMembers()).toEqual([])
    expect(changes).toMatchObject([{ kind: 'joined', own: false }])
  })

  it('is news only when something changed, and runs out when nobody tells of it any more', () => {
    const { registry, after, states, inCrowd } = fresh()
    inCrowd()
    const revision = registry.revision() + 1n
    for (let i = 0; i < 5; i++) {
      registry.adoptRemote('r2', told('a', { revision: BigInt(i), renewedAt: new Date(i) }), TTL_MS)
      expect(registry.members().at(-1)?.revision).toBe(revision)
      after(TTL_MS - 1)
    }
    registry.adoptRemote('r2', told('a', { state: 'suspect' }), GRACE_MS)
    expect([states(), registry.revision()]).toEqual([{ a: 'suspect' }, revision + 1n])
    after(GRACE_MS)
    expect(states()).toEqual({})
  })

  it('gives way to an own one of the same process, keeping what is known, and does not come back', () => {
    const { registry, changes } = fresh()
    registry.adoptRemote('r2', told('a'), TTL_MS)
    registry.setHealth('a', 1n, 'healthy', 3)
    const { member, token } = registry.register(named('a'), 'serving', {})
    expect(member).toMatchObject({ health: 'healthy', responseTimeMs: 3 })
    registry.adoptRemote('r2', told('a', { state: 'suspect' }), 1)
    registry.dropRemote('r2', 'a', 1n)
    expect(registry.ownMembers()).toMatchObject([{ instanceId: 'a', state: 'serving' }])
    registry.deregister('a', 1n, token)
    expect(changes.at(-1)).toMatchObject({ kind: 'left', own: true })
  })

  it('of a newer process replaces an own one', () => {
    const { registry } = fresh()
    const ends: string[] = []
    registry.register(named('a'), 'serving', { end: ({ reason }) => ends.push(reason) })
    registry.adoptRemote('r2', told('a', {}, { incarnation: 2n }), TTL_MS)
    expect(registry.members()).toMatchObject([{ incarnation: 2n }])
    expect([registry.ownMembers(), ends]).toEqual([[], ['STALE_INCARNATION']])
  })

  it('ends when that replica says so, not when another one or an older process is meant', () => {
    const { registry, changes } = fresh()
    registry.adoptRemote('r2', told('a', {}, { incarnation: 2n }), TTL_MS)
    registry.dropRemote('r3', 'a', 2n)
    registry.dropRemote('r2', 'a', 1n)
    expect(registry.members()).toHaveLength(1)
    registry.dropRemote('r2', 'a', 2n, 'stream_lost')
    expect(registry.members()).toEqual([])
    expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: 'stream_lost', own: false })
  })

  it('of a process that has deregistered here is too late', () => {
    const { registry } = fresh()
    registry.deregister('a', 1n, registry.register(named('a'), 'serving', {}).token)
    registry.adoptRemote('r2', told('a'), TTL_MS)
    expect(registry.members()).toEqual([])
    registry.adoptRemote('r2', told('a', {}, { incarnation: 2n }), TTL_MS)
    expect(registry.members()).toHaveLength(1)
  })

  it('can neither be renewed nor ended here, and drains here for good', () => {
    const { registry, states } = fresh()
    registry.adoptRemote('r2', told('a'), TTL_MS)
    expect(() => registry.renew('a', 1n, '')).toThrow(
      expect.objectContaining({ reason: 'INSTANCE_NOT_FOUND' }),
    )
    expect(() => registry.deregister('a', 1n, '')).toThrow(
      expect.objectContaining({ reason: 'LEASE_MISMATCH' }),
    )
    registry.drain('a')
    registry.adoptRemote('r2', told('a'), TTL_MS)
    expect(states()).toEqual({ a: 'draining' })
  })

  it('says that the event loop lags; what the checks of this replica find stays', () => {
    const { registry, members } = fresh()
    registry.adoptRemote('r2', told('a', { health: 'healthy' }), TTL_MS)
    registry.setHealth('a', 1n, 'unhealthy', 1)
    registry.adoptRemote('r2', told('a', { health: 'degraded' }), TTL_MS)
    expect(members()[0]?.health).toBe('unhealthy')
    registry.setHealth('a', 1n, 'healthy', 1)
    expect(members()[0]?.health).toBe('degraded')
  })
})
