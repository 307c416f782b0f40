import { inPanic } from '@docmesh/resilience'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { cancel, setOf } from './endpoint-set.fixture.ts'

describe('zones', () => {
  const inZone = (zone: string, count: number, well = count) =>
    Array.from({ length: count }, (_, i) => endpointNamed(`${zone}${i}`, { zone, healthy: i < well }))
  const partOf = (zone: string, counts: Record<string, number>) => {
    const all = Object.values(counts).reduce((a, b) => a + b, 0)
    const part = Object.entries(counts).filter(([id]) => id.startsWith(zone))
    return part.reduce((sum, [, count]) => sum + count, 0) / all
  }
  const nearPart = (near: number, well: number, far: number, farWell = far) =>
    partOf(
      'near',
      setOf([...inZone('near', near, well), ...inZone('far', far, farWell)], { zone: 'near' }).shares(
        2_000,
        cancel,
      ),
    )

  it('keep the calls at home while 71 % of it are ready', () => {
    expect(nearPart(5, 5, 10)).toBe(1)
    expect(nearPart(7, 5, 10)).toBe(1)
  })

  it('share the calls below that: 1.4 × the ready part stay', () => {
    expect(nearPart(10, 7, 10)).toBeCloseTo(0.98, 1)
    expect(nearPart(4, 2, 10)).toBeCloseTo(0.7, 1)
    expect(nearPart(10, 2, 20)).toBeCloseTo(0.28, 1)
  })

  it('send all calls away when none is ready at home, or nobody lives there', () => {
    expect(nearPart(3, 0, 3)).toBe(0)
    expect(nearPart(0, 0, 3)).toBe(0)
  })

  it('keep all calls at home when none is ready elsewhere', () => {
    expect(nearPart(10, 6, 2, 0)).toBe(1)
  })

  it('are no reason to panic while the other one carries everything', () => {
    const { news, shares } = setOf([...inZone('near', 6, 0), ...inZone('far', 3)], { zone: 'near' })
    expect(partOf('near', shares(200, cancel))).toBe(0)
    expect(news()).toEqual([])
  })

  it('do not matter in panic', () => {
    const { news, shares } = setOf([...inZone('near', 3, 0), ...inZone('far', 3, 1)], { zone: 'near' })
    expect(news()).toEqual(['panic true'])
    expect(
      partOf(
        'near',
        shares(600, () => {}),
      ),
    ).toBeCloseTo(0.5, 1)
  })

  it('do not matter to a client that does not know its own', () => {
    const { shares } = setOf([...inZone('near', 1), endpointNamed('far0'), ...inZone('else', 1)])
    expect(Object.values(shares(300, () => {})).every((count) => count > 90)).toBe(true)
  })

  it('do not keep a second attempt from the other zone', () => {
    const { pick } = setOf([...inZone('near', 1), ...inZone('far', 1)], { zone: 'near' })
    expect(pick({ avoid: new Set(['near0']) }).endpoint.instanceId).toBe('far0')
  })
})

describe('the subset', () => {
  const ids = (count: number) => Array.from({ length: count }, (_, i) => `e${i}`)
  const used = ({ set }: ReturnType<typeof setOf>) =>
    set
      .list()
      .filter(({ inUse }) => inUse)
      .map(({ endpoint }) => endpoint.instanceId)

  it('is everybody up to 20, and 20 above', () => {
    expect(used(setOf(ids(20)))).toHaveLength(20)
    const large = setOf(ids(1_000))
    expect(used(large)).toHaveLength(20)
    const counts = large.shares(2_000, cancel)
    expect(Object.keys(counts).filter((id) => counts[id])).toEqual(used(large))
  })

  it('is the same for the same client in whatever order, and another one for another client', () => {
    const mine = used(setOf(ids(200), { clientId: 'mine' }))
    expect(used(setOf(ids(200).toReversed(), { clientId: 'mine' })).toSorted()).toEqual(mine.toSorted())
    expect(used(setOf(ids(200), { clientId: 'yours' }))).not.toEqual(mine)
  })

  it('of many clients uses all endpoints about equally', () => {
    const load = new Map<string, number>()
    for (let client = 0; client < 200; client++)
      for (const id of used(setOf(ids(50), { clientId: `client ${client}` })))
        load.set(id, (load.get(id) ?? 0) + 1)
    // 80 each on average, with a deviation of 7.
    expect(load.size).toBe(50)
    expect(Math.min(...load.values())).toBeGreaterThan(45)
    expect(Math.max(...load.values())).toBeLessThan(115)
  })

  it('changes by at most one place for one endpoint that comes or goes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 21, max: 60 }), fc.nat(), fc.string(), (count, leaver, clientId) => {
        const before = used(setOf(ids(count), { clientId }))
        const after = used(setOf(ids(count).toSpliced(leaver % count, 1), { clientId }))
        expect(before.filter((id) => !after.includes(id)).length).toBeLessThanOrEqual(1)
        expect(after).toHaveLength(20)
      }),
      { numRuns: 50 },
    )
  })

  it('does not replace who is unwell while half of it is ready, and doubles then', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20 }), (sick) => {
        const scene = setOf(ids(100), { clientId: 'c' })
        const before = used(scene)
        for (const id of before.slice(0, sick)) scene.set.setClientHealth(id, false)
        expect(used(scene)).toHaveLength(inPanic(20 - sick, 20) ? 40 : 20)
        expect(used(scene)).toEqual(expect.arrayContaining(before))
        for (const id of before) scene.set.setClientHealth(id, true)
        expect(used(scene)).toEqual(before)
      }),
    )
  })

  it('replaces who drains', () => {
    const scene = setOf(ids(100))
    const gone = used(scene)[0] ?? ''
    scene.set.update(ids(100).map((id) => endpointNamed(id, { draining: id === gone })))
    expect(used(scene)).toHaveLength(20)
    expect(used(scene)).not.toContain(gone)
  })

  it('does not lose more of it to ejection than a set of its size', () => {
    const { set, fail, news } = setOf(ids(1_000))
    for (const { endpoint } of set.list().filter(({ inUse }) => inUse)) fail(endpoint.instanceId, 'REFUSED')
    expect(news()).toHaveLength(6)
  })

  it('of a version is its own, so that a few of many are not lost, nor get more than their part otherwise', () => {
    const scene = setOf(ids(300).map((id, i) => endpointNamed(id, { version: i < 3 ? 'new' : 'old' })))
    const canaries = ids(3)
    const newOnly = scene.shares(300, () => {}, { version: 'new' })
    expect(canaries.every((id) => (newOnly[id] ?? 0) > 80)).toBe(true)
    expect(used(scene)).toEqual(expect.arrayContaining(canaries))
    const any = scene.shares(1_000, cancel)
    expect(canaries.reduce((sum, id) => sum + (any[id] ?? 0), 0)).toBeLessThan(200)
  })
})

describe('a call for a version', () => {
  const set = () =>
    setOf([endpointNamed('a'), endpointNamed('b'), endpointNamed('c', { version: '2' })], { subsetSize: 1 })

  it('goes only to endpoints of that version', () => {
    const { shares } = set()
    expect(shares(50, cancel, { version: '2' })).toEqual({ a: 0, b: 0, c: 50 })
    expect(shares(50, cancel, { version: '1.0.0' })).toMatchObject({ c: 0 })
  })

  it('has no endpoint when none has that version, and finds one when there is', () => {
    const { set: endpoints, pick } = set()
    expect(endpoints.pick({ version: '3' })).toBe('no_endpoint')
    endpoints.update([endpointNamed('a'), endpointNamed('d', { version: '3' })])
    expect(pick({ version: '3' })).toMatchObject({ endpoint: { instanceId: 'd' }, reason: 'only' })
    expect(endpoints.pick({ version: '2' })).toBe('no_endpoint')
  })

  it('goes to an ejected endpoint rather than to another version', () => {
    const { fail, shares } = setOf(['a', 'b', endpointNamed('c', { version: '2' })])
    fail('c', 'REFUSED')
    expect(shares(50, cancel, { version: '2' })).toMatchObject({ c: 50 })
  })
})
