import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { cancel, setOf } from './endpoint-set.fixture.ts'
import type { Pick } from './endpoint-set.ts'

describe('the choice', () => {
  it('prefers the endpoint that answers sooner', () => {
    const { clock, shares } = setOf(['fast', 'quick', 'slow'])
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
    const { shares } = setOf(['a', 'b', 'c'])
    const counts = shares(300, () => {})
    for (const share of Object.values(counts)) expect(Math.abs(share - 100)).toBeLessThan(5)
  })

  it('sends less to an endpoint that fails, though it fails fast and too seldom to be ejected', () => {
    const { clock, shares, news } = setOf(['a', 'b', 'failing'])
    let calls = 0
    const counts = shares(1_000, (pick) => {
      const fails = pick.endpoint.instanceId === 'failing' && calls++ % 3 === 0
      clock.advance(fails ? 1 : 10)
      pick.done(fails ? 'ERROR' : 'SUCCESS')
    })
    expect(news()).toEqual([])
    expect(counts.failing).toBeGreaterThan(0)
    expect(counts.failing).toBeLessThan(100)
  })

  it('honours the pushback of the server', () => {
    const { pickOnly, clock, shares } = setOf(['a', 'b'])
    pickOnly('a').done('ERROR', 60_000)
    clock.advance(1_000)
    expect(shares(50, cancel)).toEqual({ a: 0, b: 50 })
  })

  it('avoids the given instances while there is another one', () => {
    const { shares } = setOf(['a', 'b', 'c', 'd'])
    expect(shares(100, cancel, { avoid: new Set(['a', 'b', 'd']) })).toMatchObject({ c: 100 })
    const two = shares(100, cancel, { avoid: new Set(['a', 'b']) })
    expect(two).toMatchObject({ a: 0, b: 0 })
    expect((two.c ?? 0) + (two.d ?? 0)).toBe(100)
  })

  it('takes one to be avoided rather than none, and rather than one that is ejected', () => {
    const { shares, fail } = setOf(['a', 'b'])
    const both = shares(10, cancel, { avoid: new Set(['a', 'b']) })
    expect((both.a ?? 0) + (both.b ?? 0)).toBe(10)
    fail('b', 'REFUSED')
    expect(shares(10, cancel, { avoid: new Set(['a']) })).toEqual({ a: 10, b: 0 })
  })

  it('is none without endpoints', () => {
    expect(setOf([]).set.pick()).toBe('no_endpoint')
  })
})

describe('a probe', () => {
  it('is taken by the first call after the ejection, dear as the endpoint is', () => {
    const { pick, fail, clock, news, set } = setOf(['a', 'b', 'c'])
    fail('a', 'TRANSPORT', 5)
    clock.advance(1_500)
    const probe = pick()
    expect(probe).toMatchObject({ endpoint: { instanceId: 'a' }, reason: 'probe', loser: undefined })
    probe.done('TRANSPORT')
    clock.advance(500)
    expect(pick().reason).toBe('least_cost')
    clock.advance(2_500)
    pick().done('SUCCESS')
    expect(news()).toEqual(['ejected a consecutive_failures', 'readmitted a'])
    expect(set.available()).toBe(3)
  })

  it('is not for a call that may not be repeated, until twice the time has passed', () => {
    const { shares, pick, fail, clock } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    clock.advance(499)
    expect(shares(50, cancel)).toMatchObject({ a: 0 })
    clock.advance(501)
    expect(shares(50, cancel, { mayProbe: false })).toMatchObject({ a: 0 })
    clock.advance(2_000)
    expect(pick({ mayProbe: false })).toMatchObject({ endpoint: { instanceId: 'a' }, reason: 'probe' })
  })

  it('that is cancelled leaves its place to the next call, of those that may', () => {
    const { pick, fail, clock } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    let reason = 'none'
    while (reason !== 'probe') {
      clock.advance(50)
      const each = pick()
      reason = each.reason
      each.done('NONE')
    }
    expect(pick({ avoid: new Set(['a']) }).reason).toBe('least_cost')
    expect(pick({ mayProbe: false }).reason).toBe('least_cost')
    expect(pick().reason).toBe('probe')
  })

  it('that never ends is given up, and another one comes', () => {
    const { pick, fail, clock, states } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    clock.advance(1_500)
    expect(pick().reason).toBe('probe')
    clock.advance(30_000)
    expect(pick().reason).toBe('least_cost')
    clock.advance(3_000)
    pick().done('SUCCESS')
    expect(states()).toMatchObject({ a: 'ready' })
  })

  it('does not go to an endpoint that is unhealthy', () => {
    const { pick, fail, clock, set } = setOf(['a', 'b', 'c'])
    fail('a', 'REFUSED')
    set.setClientHealth('a', false)
    clock.advance(1_500)
    expect(pick().reason).toBe('least_cost')
    set.setClientHealth('a', true)
    expect(pick().reason).toBe('probe')
  })
})

describe('shares', () => {
  const WEIGHTS = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 2, maxLength: 8 })
  const weighted = (weights: readonly number[]) =>
    setOf(weights.map((weight, i) => endpointNamed(`e${i}`, { weight })))
  const errors = (weights: readonly number[], counts: Record<string, number>, times: number) => {
    const sum = weights.reduce((a, b) => a + b, 0)
    return weights.map((weight, i) => Math.abs((counts[`e${i}`] ?? 0) / times - weight / sum))
  }

  it('are proportional to the weights while the endpoints are idle', () => {
    fc.assert(
      fc.property(WEIGHTS, (weights) => {
        const counts = weighted(weights).shares(4_000, cancel)
        expect(Math.max(...errors(weights, counts, 4_000))).toBeLessThan(0.05)
      }),
      { numRuns: 50 },
    )
  })

  it('are proportional to the weights under load', () => {
    fc.assert(
      fc.property(WEIGHTS, (weights) => {
        const { clock, shares } = weighted(weights)
        const running: Pick[] = []
        const counts = shares(3_000, (pick) => {
          running.push(pick)
          clock.advance(1)
          if (running.length > 200) running.shift()?.done('SUCCESS')
        })
        expect(Math.max(...errors(weights, counts, 3_000))).toBeLessThan(0.05)
      }),
      { numRuns: 50 },
    )
  })

  it('of two are exact, call by call', () => {
    const { pick } = setOf([endpointNamed('a'), endpointNamed('b', { weight: 300 })])
    const order = Array.from({ length: 8 }, () => {
      const each = pick()
      each.done('NONE')
      return each.endpoint.instanceId
    })
    expect(order.join('')).toBe('bbabbbab')
  })

  it('are smaller for an endpoint that is degraded', () => {
    const { shares } = setOf(['a', 'b', endpointNamed('c', { degraded: true })])
    const counts = shares(300, () => {})
    expect(counts.c).toBeGreaterThan(40)
    expect(counts.c).toBeLessThan(80)
  })
})

describe('two endpoints', () => {
  it('take turns though one is a little slower', () => {
    const { clock, shares } = setOf(['a', 'b'])
    clock.advance(60_000)
    const counts = shares(100, (pick) => {
      clock.advance(pick.endpoint.instanceId === 'a' ? 5 : 7)
      pick.done('SUCCESS')
    })
    expect(counts).toEqual({ a: 50, b: 50 })
  })

  it('do not when one costs more than twice the other, and nothing is made up for later', () => {
    const { clock, shares, pickOnly } = setOf(['a', 'b'])
    clock.advance(60_000)
    const answer = (pick: Pick) => {
      clock.advance(5)
      pick.done('SUCCESS')
    }
    shares(100, answer)
    pickOnly('a').done('ERROR')
    expect(shares(100, answer)).toEqual({ a: 0, b: 100 })
    clock.advance(120_000)
    shares(2, answer)
    expect(shares(20, answer)).toEqual({ a: 10, b: 10 })
  })
})

describe('a pick tells', () => {
  it('what it compared', () => {
    const { pickOnly, pick, clock } = setOf(['a', 'b'])
    clock.advance(60_000)
    pickOnly('a').done('ERROR')
    const { endpoint, costMs, loser, loserCostMs, reason } = pick()
    expect({ endpoint: endpoint.instanceId, loser: loser?.instanceId, loserCostMs, reason }).toEqual({
      endpoint: 'b',
      loser: 'a',
      loserCostMs: 5_000,
      reason: 'least_cost',
    })
    expect(costMs).toBeLessThan(10)
  })

  it('that there was nothing to compare', () => {
    expect(setOf(['a']).pick()).toMatchObject({ reason: 'only', loser: undefined, loserCostMs: 0 })
  })
})

describe('a key', () => {
  const ids = Array.from({ length: 10 }, (_, i) => `e${i}`)
  const keys = Array.from({ length: 200 }, (_, i) => `key ${i}`)
  const owners = (set: ReturnType<typeof setOf>) =>
    keys.map((hashKey) => {
      const pick = set.pick({ hashKey })
      pick.done('NONE')
      return pick.endpoint.instanceId
    })

  it('leads every client to the same endpoint, whatever its subset', () => {
    const mine = owners(setOf(ids, { clientId: 'mine', subsetSize: 2 }))
    expect(owners(setOf(ids, { clientId: 'yours', subsetSize: 3 }))).toEqual(mine)
    expect(new Set(mine).size).toBe(10)
    expect(setOf(ids).pick({ hashKey: 'x' })).toMatchObject({ reason: 'sticky' })
  })

  it('moves only when its endpoint is not ready, and comes back', () => {
    const set = setOf(ids)
    const before = owners(set)
    set.set.setClientHealth('e3', false)
    for (const [i, owner] of owners(set).entries()) {
      if (before[i] === 'e3') expect(owner).not.toBe('e3')
      else expect(owner).toBe(before[i])
    }
    set.set.setClientHealth('e3', true)
    expect(owners(set)).toEqual(before)
  })

  it('leads elsewhere when its endpoint is to be avoided or has no room', () => {
    const { pick } = setOf(ids, { maxPending: 1 })
    const first = pick({ hashKey: 'x' }).endpoint.instanceId
    const second = pick({ hashKey: 'x' }).endpoint.instanceId
    const third = pick({ hashKey: 'x', avoid: new Set([first, second]) }).endpoint.instanceId
    expect(new Set([first, second, third]).size).toBe(3)
  })

  it('probes its own endpoint when that is due', () => {
    const { pick, fail, clock, states } = setOf(ids)
    const owner = pick({ hashKey: 'x' }).endpoint.instanceId
    fail(owner, 'REFUSED')
    expect(pick({ hashKey: 'x' }).endpoint.instanceId).not.toBe(owner)
    clock.advance(1_500)
    const probe = pick({ hashKey: 'x' })
    expect(probe).toMatchObject({ endpoint: { instanceId: owner }, reason: 'probe' })
    probe.done('SUCCESS')
    expect(states()).toMatchObject({ [owner]: 'ready' })
  })
})

describe('the cap of calls under way', () => {
  it('is kept by each endpoint; with all at it, the set is saturated until a call ends', () => {
    const { set, pick, shares } = setOf(['a', 'b', 'c'], { maxPending: 4 })
    shares(11, () => {})
    const last = pick()
    expect(set.list().map(({ pending }) => pending)).toEqual([4, 4, 4])
    expect(set.pick()).toBe('saturated')
    expect(set.pick({ hashKey: 'x' })).toBe('saturated')
    last.done('SUCCESS')
    expect(pick().endpoint).toBe(last.endpoint)
  })

  it('counts calls that began before the endpoint was ejected and readmitted', () => {
    const { set, pick, pickOnly, fail, clock } = setOf(['a', 'b'], { maxPending: 3 })
    const hung = [pickOnly('a'), pickOnly('a')]
    fail('a', 'REFUSED')
    clock.advance(1_500)
    pick().done('SUCCESS')
    expect(set.list()[0]).toMatchObject({ state: 'ready', pending: 2 })
    pickOnly('a')
    expect(() => pickOnly('a')).toThrow('picked b')
    for (const each of hung) each.done('TRANSPORT')
    expect(set.list()[0]).toMatchObject({ pending: 1 })
  })

  it('does not drive calls to endpoints that are not well', () => {
    const { set, pick } = setOf(['a', 'b', endpointNamed('c', { healthy: false })], { maxPending: 1 })
    pick()
    pick()
    expect(set.pick()).toBe('saturated')
  })
})
