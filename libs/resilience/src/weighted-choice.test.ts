import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { weightedChoice } from './weighted-choice.ts'

const point = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('weightedChoice', () => {
  test('splits 90 to 10 at nine tenths', () => {
    expect(weightedChoice([90, 10], 0)).toBe(0)
    expect(weightedChoice([90, 10], 0.899)).toBe(0)
    expect(weightedChoice([90, 10], 0.9)).toBe(1)
    expect(weightedChoice([90, 10], 0.999)).toBe(1)
  })

  test('has no answer when nothing has a weight', () => {
    expect(weightedChoice([0, 0], 0.5)).toBe(-1)
    expect(weightedChoice([], 0.5)).toBe(-1)
  })

  test('never chooses a zero weight', () => {
    const weights = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1_000, noNaN: true })), {
      minLength: 1,
    })
    fc.assert(
      fc.property(weights, point, (list, at) => {
        const chosen = weightedChoice(list, at)
        if (list.every((weight) => weight === 0)) expect(chosen).toBe(-1)
        else expect(list[chosen]).toBeGreaterThan(0)
      }),
    )
  })

  test('gives each weight its exact share of the points', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 8 }), (weights) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        const chosen = weights.map(() => 0)
        for (let ticket = 0; ticket < total; ticket += 1) {
          const index = weightedChoice(weights, (ticket + 0.5) / total)
          chosen[index] = (chosen[index] ?? 0) + 1
        }
        expect(chosen).toEqual(weights)
      }),
    )
  })

  test('moves on only to later indices as the point grows', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000), { minLength: 1 }), point, point, (weights, a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)]
        expect(weightedChoice(weights, low)).toBeLessThanOrEqual(weightedChoice(weights, high))
      }),
    )
  })
})
