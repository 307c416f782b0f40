import { describe, expect, it } from 'vitest'
import type { LeaseStream } from './lease.ts'
import { fresh, GRACE_MS, named, TTL_MS } from './registry.fixture.ts'

/** A service of `count` instances, each with its stream; renewed by `beat`. */
function fleet({ registry }: ReturnType<typeof fresh>, service: string, count: number) {
  const streams = new Map<string, LeaseStream>()
  for (let i = 0; i < count; i++) {
    const id = `${service}-${i}`
    streams.set(id, {})
    registry.register(named(id, { service }), 'serving', streams.get(id))
  }
  const of = (ids: readonly string[]) => ids.map((id) => streams.get(id) as LeaseStream)
  return {
    beat: (...ids: string[]) => {
      for (const stream of of(ids)) registry.heartbeat(stream)
    },
    breakOff: (...ids: string[]) => {
      for (const stream of of(ids)) registry.detach(stream)
    },
    ids: [...streams.keys()],
  }
}

const count = (states: Record<string, string>) => {
  const all = Object.values(states)
  return { listed: all.length, suspect: all.filter((state) => state === 'suspect').length }
}

describe('kill -9', () => {
  it.each([2, 3])('of one of %i instances delists it after the grace', (size) => {
    const mesh = fresh()
    const { breakOff, ids } = fleet(mesh, 'document', size)
    breakOff('document-0')
    mesh.after(GRACE_MS)
    expect(Object.keys(mesh.states())).toEqual(ids.slice(1))
  })

  it('of the only instance of a service leaves it suspect, until there is another one', () => {
    const mesh = fresh()
    fleet(mesh, 'document', 1).breakOff('document-0')
    mesh.after(10 * TTL_MS)
    expect(mesh.states()).toEqual({ 'document-0': 'suspect' })
    mesh.registry.register(named('next'), 'serving', {})
    mesh.after(1)
    expect(mesh.states()).toEqual({ next: 'serving' })
  })

  it('of all instances of a service leaves one', () => {
    const mesh = fresh()
    fleet(mesh, 'document', 2).breakOff('document-0', 'document-1')
    mesh.after(GRACE_MS)
    expect(mesh.states()).toEqual({ 'document-1': 'suspect' })
  })

  it('of one that drains delists it, also as the last one: it said that it leaves', () => {
    const mesh = fresh()
    const { breakOff } = fleet(mesh, 'document', 1)
    mesh.registry.drain('document-0')
    breakOff('document-0')
    mesh.after(GRACE_MS)
    expect(mesh.states()).toEqual({})
  })
})

describe('when many leases run out together', () => {
  const guardChanges = ({ changes }: ReturnType<typeof fresh>) =>
    changes.filter(({ kind }) => kind === 'guard')

  it('none is delisted: they are suspect, and the guard says so once', () => {
    const mesh = fresh()
    const { breakOff, ids } = fleet(mesh, 'document', 10)
    breakOff(...ids.slice(0, 3))
    mesh.after(GRACE_MS)
    mesh.after(TTL_MS)
    expect(mesh.registry.guarded()).toBe(true)
    expect(guardChanges(mesh)).toEqual([{ kind: 'guard', active: true, expired: 3, instances: 10 }])
    expect(count(mesh.states())).toEqual({ listed: 10, suspect: 10 })
  })

  it('those that come back are what they were, which releases the guard and delists the others', () => {
    const mesh = fresh()
    const { beat, ids } = fleet(mesh, 'document', 10)
    mesh.after(TTL_MS)
    expect(count(mesh.states())).toEqual({ listed: 10, suspect: 10 })
    beat(...ids.slice(1))
    mesh.after(1)
    expect(mesh.registry.guarded()).toBe(false)
    expect(guardChanges(mesh)).toMatchObject([{ active: true }, { active: false }])
    expect(count(mesh.states())).toEqual({ listed: 9, suspect: 0 })
  })

  it('one after the other, those beyond the share stay', () => {
    const mesh = fresh()
    const { beat, breakOff, ids } = fleet(mesh, 'document', 10)
    mesh.after(TTL_MS - 1)
    beat(...ids)
    for (const id of ids.slice(0, 5)) {
      breakOff(id)
      mesh.after(GRACE_MS)
    }
    expect(count(mesh.states())).toEqual({ listed: 8, suspect: 3 })
  })

  it('those that nobody heard of for ten minutes go all the same, but for one of each service', () => {
    const mesh = fresh()
    const { breakOff, ids } = fleet(mesh, 'document', 4)
    const other = fleet(mesh, 'analysis', 1)
    breakOff(...ids)
    mesh.after(GRACE_MS)
    for (let ms = 0; ms < 600_000; ms += 10_000) {
      other.beat('analysis-0')
      mesh.after(10_000)
      if (ms < 580_000) expect(count(mesh.states())).toEqual({ listed: 5, suspect: 4 })
    }
    expect(mesh.states()).toEqual({ 'document-3': 'suspect', 'analysis-0': 'serving' })
  })

  it('last instances that are kept for ever do not keep the guard up for ever', () => {
    const mesh = fresh()
    for (const service of ['a', 'b', 'c']) fleet(mesh, service, 1).breakOff(`${service}-0`)
    const { beat, breakOff } = fleet(mesh, 'document', 2)
    const wait = (ms: number) => {
      for (let waited = 0; waited < ms; waited += 10_000) {
        beat('document-0', 'document-1')
        mesh.after(10_000)
      }
    }
    wait(590_000)
    expect(mesh.registry.guarded()).toBe(true)
    wait(20_000)
    expect(mesh.registry.guarded()).toBe(false)
    breakOff('document-1')
    mesh.after(GRACE_MS)
    const kept = { 'a-0': 'suspect', 'b-0': 'suspect', 'c-0': 'suspect' }
    expect(mesh.states()).toEqual({ ...kept, 'document-0': 'serving' })
  })

  it('no more than a thousand services keep an instance that is gone', () => {
    const mesh = fresh()
    for (let i = 0; i < 1_100; i++) fleet(mesh, `s${i}`, 1).breakOff(`s${i}-0`)
    mesh.after(600_001 + GRACE_MS)
    expect(count(mesh.states())).toEqual({ listed: 1_000, suspect: 1_000 })
  })
})

describe('quarantine', () => {
  const remote = (mesh: ReturnType<typeof fresh>, id: string) => {
    const { member } = fresh().registry.register(named(id), 'serving', {})
    mesh.registry.adoptRemote('r2', member, 1_000)
  }

  it('keeps what has not been heard of for one lease time after the start, no longer', () => {
    const mesh = fresh()
    fleet(mesh, 'document', 2)
    remote(mesh, 'warm')
    expect(mesh.registry.quarantine()).toBe(true)
    mesh.after(TTL_MS - 1)
    expect(mesh.states()).toHaveProperty('warm', 'serving')
    mesh.registry.register(named('young'), 'serving', {})
    mesh.after(1)
    expect(mesh.registry.quarantine()).toBe(false)
  })

  it('does not keep an instance whose stream broke in this life', () => {
    const mesh = fresh()
    fleet(mesh, 'document', 2).breakOff('document-0')
    mesh.after(GRACE_MS)
    expect(mesh.registry.quarantine()).toBe(true)
    expect(mesh.states()).toEqual({ 'document-1': 'serving' })
  })
})
