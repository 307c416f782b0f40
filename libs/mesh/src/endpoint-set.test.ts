import { maxEjected } from '@docmesh/resilience'
import { describe, expect, it } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { cancel, setOf } from './endpoint-set.fixture.ts'

describe('ejection', () => {
  it('comes with the fifth transport failure in a row', () => {
    const { fail, states, news, shares } = setOf(['a', 'b', 'c'])
    fail('a', 'TRANSPORT', 4)
    fail('a', 'SUCCESS')
    fail('a', 'TRANSPORT', 4)
    expect(states()).toEqual({ a: 'ready', b: 'ready', c: 'ready' })
    fail('a', 'TRANSPORT')
    expect(states()).toEqual({ a: 'ejected', b: 'ready', c: 'ready' })
    expect(news()).toEqual(['ejected a consecutive_failures'])
    expect(shares(100, cancel)).toMatchObject({ a: 0 })
  })

  it('comes with the first refused connection', () => {
    const { fail, states } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    expect(states()).toMatchObject({ a: 'ejected' })
  })

  it('lets one call probe when its time is up, and takes the endpoint back when that succeeds', () => {
    const { pick, fail, states, clock } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    clock.advance(1_500)
    const probe = pick()
    expect(probe).toMatchObject({ endpoint: { instanceId: 'a' }, reason: 'probe' })
    for (let i = 0; i < 20; i++) expect(pick().endpoint.instanceId).not.toBe('a')
    expect(states()).toMatchObject({ a: 'ejected' })
    probe.done('SUCCESS')
    expect(states()).toMatchObject({ a: 'ready' })
  })

  it('never takes the last endpoint', () => {
    const alone = setOf(['a'])
    alone.fail('a', 'REFUSED', 50)
    expect(alone.states()).toEqual({ a: 'ready' })
    const pair = setOf(['a', 'b'])
    pair.fail('a', 'REFUSED')
    pair.fail('b', 'REFUSED', 50)
    expect(pair.states()).toEqual({ a: 'ejected', b: 'ready' })
  })

  it.each([2, 3, 9, 10, 20])('takes no more than the cap of %d endpoints', (size) => {
    const ids = Array.from({ length: size }, (_, i) => `e${i}`)
    const { fail, news } = setOf(ids)
    for (const id of ids) fail(id, 'REFUSED')
    expect(news()).toHaveLength(maxEjected(size))
  })
})

describe('panic', () => {
  const sick = (id: string) => endpointNamed(id, { healthy: false })

  it('does not begin while half of the endpoints are well: only these are chosen', () => {
    const { set, shares } = setOf(['a', 'b', sick('c'), sick('d')])
    const counts = shares(100, cancel)
    expect(counts).toMatchObject({ c: 0, d: 0 })
    expect(set.available()).toBe(2)
  })

  it('chooses from all of them below one half, whatever is known of their health', () => {
    const { set, shares } = setOf(['a', sick('b'), sick('c'), sick('d')])
    expect(set.available()).toBe(1)
    const counts = shares(400, () => {})
    for (const share of Object.values(counts)) expect(Math.abs(share - 100)).toBeLessThan(5)
  })

  it('counts the ejected and the unhealthy together', () => {
    const { fail, pick } = setOf(['a', 'b', sick('c')])
    fail('a', 'REFUSED')
    expect(pick({ avoid: new Set(['b', 'c']) })).toMatchObject({
      endpoint: { instanceId: 'a' },
      reason: 'panic',
    })
  })
})

describe('draining endpoints', () => {
  const draining = (id: string) => endpointNamed(id, { draining: true })

  it('are never chosen, not even in panic or when all others are to be avoided', () => {
    const { set, shares, states } = setOf([
      endpointNamed('a', { healthy: false }),
      draining('b'),
      draining('c'),
    ])
    expect(shares(50, cancel)).toEqual({ a: 50, b: 0, c: 0 })
    expect(shares(50, cancel, { avoid: new Set(['a']) })).toEqual({ a: 50, b: 0, c: 0 })
    expect(states()).toEqual({ a: 'unhealthy', b: 'draining', c: 'draining' })
    expect(set.available()).toBe(0)
  })

  it('leave nothing to choose when they are the only ones', () => {
    expect(setOf([draining('a')]).set.pick()).toBe('no_endpoint')
  })
})

describe('an update', () => {
  it('keeps what is known of the endpoints that stay', () => {
    const { set, pickOnly, fail, states, clock } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    const slow = pickOnly('b')
    clock.advance(3_000)
    slow.done('SUCCESS')
    const pending = pickOnly('c')
    set.update(['a', 'b', 'c', 'd'].map((id) => endpointNamed(id, { version: '2' })))
    expect(states()).toEqual({ a: 'ejected', b: 'ready', c: 'ready', d: 'ready' })
    expect(set.list()[1]).toMatchObject({ estimateMs: 3_000, endpoint: { version: '2' } })
    expect(set.list()[2]).toMatchObject({ pending: 1 })
    pending.done('SUCCESS')
    expect(set.list()[2]).toMatchObject({ pending: 0 })
  })

  it('forgets endpoints that left, and an instance that moved to another address', () => {
    const { set, fail, states } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    set.update([endpointNamed('a', { address: 'elsewhere:1' }), endpointNamed('b')])
    expect(states()).toEqual({ a: 'ready', b: 'ready' })
  })

  it('takes the outcome of a call to an endpoint that has left meanwhile', () => {
    const { set, pickOnly, news } = setOf(['a', 'b'])
    const late = pickOnly('a')
    set.update([endpointNamed('b'), endpointNamed('c')])
    late.done('REFUSED')
    expect(news()).toEqual([])
  })
})

describe('health that this client found out', () => {
  it('counts like that of the registry', () => {
    const { set, shares, states } = setOf(['a', 'b', 'c'])
    set.setClientHealth('a', false)
    expect(states()).toEqual({ a: 'unhealthy', b: 'ready', c: 'ready' })
    expect(shares(50, cancel)).toMatchObject({ a: 0 })
    set.setClientHealth('a', true)
    expect(set.available()).toBe(3)
  })

  it('tells of panic once when it begins and once when it ends', () => {
    const { set, news, pick } = setOf(['a', 'b', 'c'])
    for (const id of ['a', 'b', 'c', 'unknown']) set.setClientHealth(id, false)
    expect(news()).toEqual(['panic true'])
    expect(pick().reason).toBe('panic')
    set.setClientHealth('b', true)
    expect(news()).toEqual([])
    set.setClientHealth('c', true)
    expect(news()).toEqual(['panic false'])
  })

  it('survives an update, but not a move', () => {
    const { set, states } = setOf(['a', 'b'])
    set.setClientHealth('a', false)
    set.setClientHealth('b', false)
    set.update([endpointNamed('a'), endpointNamed('b', { address: 'elsewhere:1' })])
    expect(states()).toEqual({ a: 'unhealthy', b: 'ready' })
  })
})

describe('the sweep', () => {
  /** Five endpoints, and a way to call each of them: e fails one third, too little for the ratio of ten seconds. */
  function scene() {
    const scene = setOf(['a', 'b', 'c', 'd', 'e'])
    const calls = (each: number): void => {
      for (const id of ['a', 'b', 'c', 'd', 'e'])
        for (let i = 0; i < each; i++)
          scene.pickOnly(id).done(id === 'e' && i % 3 === 0 ? 'ERROR' : 'SUCCESS')
    }
    return { ...scene, calls }
  }

  it('ejects the one that fails much more than the others', () => {
    const { set, calls, news, clock } = scene()
    calls(120)
    expect(news()).toEqual([])
    set.sweep()
    expect(news()).toEqual(['ejected e success_rate'])
    clock.advance(29_000)
    expect(set.pick()).not.toMatchObject({ reason: 'probe' })
    clock.advance(1_000)
    expect(set.pick()).toMatchObject({ endpoint: { instanceId: 'e' }, reason: 'probe' })
  })

  it('forgives an endpoint that passes, so that the next ejection is as short as the first', () => {
    const { set, calls, pick, clock, news } = scene()
    for (let round = 0; round < 2; round++) {
      calls(120)
      set.sweep()
      clock.advance(30_000)
      pick().done('SUCCESS')
      expect(news()).toEqual(['ejected e success_rate', 'readmitted e'])
      set.sweep()
    }
  })

  it('judges each call once', () => {
    const { set, calls, news } = scene()
    for (let round = 0; round < 2; round++) {
      calls(60)
      set.sweep()
    }
    expect(news()).toEqual([])
  })
})
