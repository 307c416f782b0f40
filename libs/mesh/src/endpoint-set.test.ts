import { maxEjected } from '@docmesh/resilience'
import { fakeClock } from '@docmesh/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import type { Endpoint } from './endpoint.ts'
import { createEndpointSet, type Outcome, type Pick } from './endpoint-set.ts'

function setOf(...endpoints: (string | Endpoint)[]) {
  const clock = fakeClock()
  const ejected: string[] = []
  const set = createEndpointSet({
    now: clock.now,
    random: seededRandom(7),
    onEjection: ({ instanceId }) => ejected.push(instanceId),
  })
  const all = endpoints.map((each) => (typeof each === 'string' ? endpointNamed(each) : each))
  set.update(all)
  /** A call to this very endpoint. */
  const pickOnly = (id: string): Pick => {
    const others = all.map(({ instanceId }) => instanceId).filter((other) => other !== id)
    const pick = set.pick(new Set(others))
    if (pick?.endpoint.instanceId !== id) throw new Error(`picked ${pick?.endpoint.instanceId}, not ${id}`)
    return pick
  }
  const fail = (id: string, outcome: Outcome, times = 1): void => {
    for (let i = 0; i < times; i++) pickOnly(id).done(outcome)
  }
  const states = () =>
    Object.fromEntries(set.list().map(({ endpoint, state }) => [endpoint.instanceId, state]))
  /** How many of `times` picks went to each endpoint; `call` runs each of them. */
  const shares = (times: number, call: (pick: Pick) => void, avoid?: ReadonlySet<string>) => {
    const counts: Record<string, number> = Object.fromEntries(all.map(({ instanceId }) => [instanceId, 0]))
    for (let i = 0; i < times; i++) {
      const pick = set.pick(avoid)
      if (!pick) continue
      counts[pick.endpoint.instanceId] = (counts[pick.endpoint.instanceId] ?? 0) + 1
      call(pick)
    }
    return counts
  }
  return { set, clock, ejected, fail, states, shares }
}

const cancel = (pick: Pick): void => pick.done('NONE')

describe('the choice', () => {
  it('prefers the endpoint that answers sooner', () => {
    const { clock, shares } = setOf('fast', 'quick', 'slow')
    const counts = shares(1_000, (pick) => {
      clock.advance(pick.endpoint.instanceId === 'slow' ? 200 : 5)
      pick.done('SUCCESS')
    })
    expect(counts.slow).toBeGreaterThan(0)
    expect(counts.slow).toBeLessThan(100)
    expect(counts.fast).toBeGreaterThan(300)
    expect(counts.quick).toBeGreaterThan(300)
  })

  it('prefers the endpoint that has fewer calls to answer', () => {
    const { shares } = setOf('a', 'b', 'c')
    const counts = shares(300, () => {})
    for (const share of Object.values(counts)) expect(Math.abs(share - 100)).toBeLessThan(5)
  })

  it('sends less to an endpoint that fails, though it fails fast and too seldom to be ejected', () => {
    const { clock, shares, ejected } = setOf('a', 'b', 'failing')
    let calls = 0
    const counts = shares(1_000, (pick) => {
      const fails = pick.endpoint.instanceId === 'failing' && calls++ % 3 === 0
      clock.advance(fails ? 1 : 10)
      pick.done(fails ? 'ERROR' : 'SUCCESS')
    })
    expect(ejected).toEqual([])
    expect(counts.failing).toBeGreaterThan(0)
    expect(counts.failing).toBeLessThan(100)
  })

  it('honours the pushback of the server', () => {
    const { set, clock, shares } = setOf('a', 'b')
    set.pick(new Set(['b']))?.done('ERROR', 60_000)
    clock.advance(1_000)
    expect(shares(50, cancel)).toEqual({ a: 0, b: 50 })
  })

  it('avoids the given instances while there is another one', () => {
    const { shares } = setOf('a', 'b', 'c', 'd')
    expect(shares(100, cancel, new Set(['a', 'b', 'd']))).toMatchObject({ c: 100 })
    const two = shares(100, cancel, new Set(['a', 'b']))
    expect(two).toMatchObject({ a: 0, b: 0 })
    expect((two.c ?? 0) + (two.d ?? 0)).toBe(100)
  })

  it('takes one to be avoided rather than none, and rather than one that is ejected', () => {
    const { shares, fail } = setOf('a', 'b')
    const both = shares(10, cancel, new Set(['a', 'b']))
    expect((both.a ?? 0) + (both.b ?? 0)).toBe(10)
    fail('b', 'REFUSED')
    expect(shares(10, cancel, new Set(['a']))).toEqual({ a: 10, b: 0 })
  })

  it('is none without endpoints', () => {
    expect(setOf().set.pick()).toBeUndefined()
  })
})

describe('ejection', () => {
  it('comes with the fifth transport failure in a row', () => {
    const { fail, states, ejected, shares } = setOf('a', 'b', 'c')
    fail('a', 'TRANSPORT', 4)
    fail('a', 'SUCCESS')
    fail('a', 'TRANSPORT', 4)
    expect(states()).toEqual({ a: 'ready', b: 'ready', c: 'ready' })
    fail('a', 'TRANSPORT')
    expect(states()).toEqual({ a: 'ejected', b: 'ready', c: 'ready' })
    expect(ejected).toEqual(['a'])
    expect(shares(100, cancel)).toMatchObject({ a: 0 })
  })

  it('comes with the first refused connection', () => {
    const { fail, states } = setOf('a', 'b', 'c')
    fail('a', 'REFUSED')
    expect(states()).toMatchObject({ a: 'ejected' })
  })

  it('lets one call probe when its time is up, and takes the endpoint back when that succeeds', () => {
    const { set, fail, states, clock } = setOf('a', 'b', 'c')
    fail('a', 'REFUSED')
    clock.advance(1_500)
    const others = new Set(['b', 'c'])
    const probe = set.pick(others)
    expect(probe?.endpoint.instanceId).toBe('a')
    expect(set.pick(others)?.endpoint.instanceId).not.toBe('a')
    expect(states()).toMatchObject({ a: 'ejected' })
    probe?.done('SUCCESS')
    expect(states()).toMatchObject({ a: 'ready' })
  })

  it('never takes the last endpoint', () => {
    const alone = setOf('a')
    alone.fail('a', 'REFUSED', 50)
    expect(alone.states()).toEqual({ a: 'ready' })
    const pair = setOf('a', 'b')
    pair.fail('a', 'REFUSED')
    pair.fail('b', 'REFUSED', 50)
    expect(pair.states()).toEqual({ a: 'ejected', b: 'ready' })
  })

  it.each([2, 3, 9, 10, 20])('takes no more than the cap of %d endpoints', (size) => {
    const ids = Array.from({ length: size }, (_, i) => `e${i}`)
    const { fail, ejected } = setOf(...ids)
    for (const id of ids) fail(id, 'REFUSED')
    expect(ejected).toHaveLength(maxEjected(size))
  })
})

describe('panic', () => {
  const sick = (id: string) => endpointNamed(id, { healthy: false })

  it('does not begin while half of the endpoints are well: only these are chosen', () => {
    const { set, shares } = setOf('a', 'b', sick('c'), sick('d'))
    const counts = shares(100, cancel)
    expect(counts).toMatchObject({ c: 0, d: 0 })
    expect(set.available()).toBe(2)
  })

  it('chooses from all of them below one half, whatever is known of their health', () => {
    const { set, shares } = setOf('a', sick('b'), sick('c'), sick('d'))
    expect(set.available()).toBe(1)
    const counts = shares(400, () => {})
    for (const share of Object.values(counts)) expect(Math.abs(share - 100)).toBeLessThan(5)
  })

  it('counts the ejected and the unhealthy together', () => {
    const { fail, shares } = setOf('a', 'b', sick('c'))
    fail('a', 'REFUSED')
    expect(shares(90, () => {})).not.toMatchObject({ a: 0 })
  })
})

describe('draining endpoints', () => {
  const draining = (id: string) => endpointNamed(id, { draining: true })

  it('are never chosen, not even in panic or when all others are to be avoided', () => {
    const { set, shares, states } = setOf(
      endpointNamed('a', { healthy: false }),
      draining('b'),
      draining('c'),
    )
    expect(shares(50, cancel)).toEqual({ a: 50, b: 0, c: 0 })
    expect(shares(50, cancel, new Set(['a']))).toEqual({ a: 50, b: 0, c: 0 })
    expect(states()).toEqual({ a: 'unhealthy', b: 'draining', c: 'draining' })
    expect(set.available()).toBe(0)
  })

  it('leave nothing to choose when they are the only ones', () => {
    expect(setOf(draining('a')).set.pick()).toBeUndefined()
  })
})

describe('an update', () => {
  it('keeps what is known of the endpoints that stay', () => {
    const { set, fail, states, clock } = setOf('a', 'b', 'c')
    fail('a', 'REFUSED')
    const slow = set.pick(new Set(['a', 'c']))
    clock.advance(3_000)
    slow?.done('SUCCESS')
    const pending = set.pick(new Set(['a', 'b']))
    set.update(['a', 'b', 'c', 'd'].map((id) => endpointNamed(id, { version: '2' })))
    expect(states()).toEqual({ a: 'ejected', b: 'ready', c: 'ready', d: 'ready' })
    expect(set.list()[1]).toMatchObject({ estimateMs: 3_000, endpoint: { version: '2' } })
    expect(set.list()[2]).toMatchObject({ pending: 1 })
    pending?.done('SUCCESS')
    expect(set.list()[2]).toMatchObject({ pending: 0 })
  })

  it('forgets endpoints that left, and an instance that moved to another address', () => {
    const { set, fail, states } = setOf('a', 'b', 'c')
    fail('a', 'REFUSED')
    set.update([endpointNamed('a', { address: 'elsewhere:1' }), endpointNamed('b')])
    expect(states()).toEqual({ a: 'ready', b: 'ready' })
  })

  it('takes the outcome of a call to an endpoint that has left meanwhile', () => {
    const { set } = setOf('a')
    const pick = set.pick()
    set.update([])
    expect(() => pick?.done('REFUSED')).not.toThrow()
    expect(set.list()).toEqual([])
  })
})

describe('whatever happens', () => {
  const ids = ['a', 'b', 'c', 'd', 'e']
  const endpoint = fc.record({
    instanceId: fc.constantFrom(...ids),
    healthy: fc.boolean(),
    draining: fc.boolean(),
  })
  const step = fc.oneof(
    fc.record({
      do: fc.constant('update' as const),
      endpoints: fc.uniqueArray(endpoint, { selector: ({ instanceId }) => instanceId }),
    }),
    fc.record({ do: fc.constant('pick' as const), avoid: fc.subarray(ids) }),
    fc.record({
      do: fc.constant('end' as const),
      outcome: fc.constantFrom<Outcome>('SUCCESS', 'ERROR', 'TRANSPORT', 'REFUSED', 'NONE'),
    }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 40_000 }) }),
  )

  it('only endpoints of the set that do not drain are chosen, and one is whenever there is one', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer(), (steps, seed) => {
        const clock = fakeClock()
        const set = createEndpointSet({ now: clock.now, random: seededRandom(seed) })
        let open: string[] = []
        const running: Pick[] = []
        for (const each of steps) {
          switch (each.do) {
            case 'update':
              set.update(each.endpoints.map(({ instanceId, ...fields }) => endpointNamed(instanceId, fields)))
              open = each.endpoints.filter(({ draining }) => !draining).map(({ instanceId }) => instanceId)
              break
            case 'pick': {
              const pick = set.pick(new Set(each.avoid))
              if (open.length === 0) expect(pick).toBeUndefined()
              else expect(open).toContain(pick?.endpoint.instanceId)
              if (pick) running.push(pick)
              break
            }
            case 'end':
              running.shift()?.done(each.outcome)
              break
            case 'wait':
              clock.advance(each.ms)
          }
          expect(set.available()).toBeLessThanOrEqual(open.length)
          const ejected = set.list().filter(({ state }) => state === 'ejected')
          expect(ejected.length).toBeLessThan(Math.max(1, set.list().length))
        }
      }),
      { numRuns: 300 },
    )
  })
})
