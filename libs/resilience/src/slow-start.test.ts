import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { slowStartFactor } from './slow-start.ts'

describe('slowStartFactor', () => {
  test('rises in a line from a tenth to one in ten seconds', () => {
    expect(
      [0, 500, 1_000, 2_500, 5_000, 9_999, 10_000, 3_600_000].map((ageMs) => slowStartFactor(ageMs)),
    ).toEqual([0.1, 0.1, 0.1, 0.25, 0.5, 0.9999, 1, 1])
  })

  test('rises faster at first with more aggression', () => {
    expect(slowStartFactor(2_500, { aggression: 2 })).toBeCloseTo(0.5)
    expect(slowStartFactor(2_500, { aggression: 0.5, minFactor: 0.01 })).toBeCloseTo(0.0625)
  })

  test('is off with a window of nothing', () => {
    expect(slowStartFactor(0, { windowMs: 0 })).toBe(1)
  })

  test('stays between the least share and one, and never falls with age', () => {
    const options = fc.record({
      windowMs: fc.nat(86_400_000),
      minFactor: fc.double({ min: 0.01, max: 1, noNaN: true }),
      aggression: fc.double({ min: 0.1, max: 10, noNaN: true }),
    })
    fc.assert(
      fc.property(options, fc.nat(100_000_000), fc.nat(100_000_000), (given, a, b) => {
        const young = slowStartFactor(Math.min(a, b), given)
        const old = slowStartFactor(Math.max(a, b), given)
        expect(young).toBeGreaterThanOrEqual(given.minFactor)
        expect(old).toBeLessThanOrEqual(1)
        expect(young).toBeLessThanOrEqual(old)
      }),
    )
  })

  test('refuses a share of nothing', () => {
    expect(() => slowStartFactor(0, { minFactor: 0 })).toThrow('minFactor is 0')
  })
})
