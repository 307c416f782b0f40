import { describe, expect, it } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { setOf } from './endpoint-set.fixture.ts'
import type { Pick } from './endpoint-set.ts'

describe('an endpoint that begins', () => {
  const warm = (clock: { advance(ms: number): void }) => (pick: Pick) => {
    clock.advance(5)
    pick.done('SUCCESS')
  }

  it('is expected to be like its peers, not like the one that has just failed', () => {
    const { set, shares, clock, fail } = setOf(['a', 'b', 'c'])
    clock.advance(60_000)
    shares(500, warm(clock))
    fail('b', 'ERROR')
    set.update(['a', 'b', 'c', 'd'].map((id) => endpointNamed(id)))
    expect(set.list()[3]?.estimateMs).toBeLessThan(20)
  })

  it('gets a part of its share at first, and all of it after ten seconds', () => {
    const { set, shares, clock } = setOf(['a', 'b', 'c'])
    clock.advance(60_000)
    shares(500, warm(clock))
    set.update(['a', 'b', 'c', 'd'].map((id) => endpointNamed(id)))
    const first = shares(400, warm(clock)).d ?? 0
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThan(50)
    clock.advance(10_000)
    expect(shares(2_000, warm(clock)).d).toBeGreaterThan(300)
  })

  it('begins again when it is readmitted, whatever it cost before', () => {
    const { set, fail, pick, shares, clock } = setOf(['a', 'b', 'c'])
    clock.advance(60_000)
    shares(500, warm(clock))
    fail('a', 'REFUSED')
    clock.advance(1_500)
    expect(set.list()[0]?.estimateMs).toBeGreaterThan(4_000)
    pick().done('SUCCESS')
    expect(set.list()[0]?.estimateMs).toBeLessThan(20)
    clock.advance(10_000)
    expect(shares(1_000, warm(clock)).a).toBeGreaterThan(200)
  })

  it('gets its whole share at once when nobody is warm', () => {
    const { set, shares } = setOf(['a', 'b'])
    set.update(['a', 'b', 'c'].map((id) => endpointNamed(id)))
    expect(Object.values(shares(300, () => {})).every((share) => share > 90)).toBe(true)
  })
})
