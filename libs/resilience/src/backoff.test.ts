import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBackoff } from './backoff.ts'

const middle = () => 0.5

describe('createBackoff', () => {
  test.each([
    ['calls outside the mesh', {}, [100, 200, 400], 30_000],
    ['calls in the mesh', { initialMs: 25, maxMs: 250, jitter: 0.2 }, [25, 50, 100], 250],
    ['jobs', { initialMs: 1_000, maxMs: 300_000, jitter: 0.1 }, [1_000, 2_000, 4_000], 300_000],
    ['ejections', { initialMs: 1_000, maxMs: 60_000, jitter: 0.5 }, [1_000, 2_000, 4_000], 60_000],
  ])('doubles from the first delay to the ceiling for %s', (_, options, first, ceiling) => {
    const backoff = createBackoff(options, middle)
    expect([1, 2, 3].map(backoff)).toEqual(first)
    expect(backoff(2_000)).toBe(ceiling)
  })

  test('spreads evenly around the mean', () => {
    expect(createBackoff({ jitter: 0.15 }, () => 0)(1)).toBeCloseTo(85)
    expect(createBackoff({ jitter: 0.15 }, () => 0.75)(1)).toBeCloseTo(107.5)
  })

  test('spreads the ceiling too', () => {
    expect(createBackoff({ maxMs: 1_000, jitter: 0.5 }, () => 0.75)(50)).toBe(1_250)
  })

  test('stays within the spread of a mean that never falls', () => {
    fc.assert(
      fc.property(
        fc.record({
          initialMs: fc.double({ min: 1, max: 1_000, noNaN: true }),
          multiplier: fc.double({ min: 1, max: 10, noNaN: true }),
          maxMs: fc.double({ min: 1_000, max: 86_400_000, noNaN: true }),
          jitter: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (options, retry, random) => {
          const mean = createBackoff(options, middle)
          const delayMs = createBackoff(options, () => random)(retry)
          expect(mean(retry)).toBeLessThanOrEqual(mean(retry + 1))
          expect(delayMs).toBeGreaterThanOrEqual(mean(retry) * (1 - options.jitter) * (1 - 1e-12))
          expect(delayMs).toBeLessThanOrEqual(options.maxMs * (1 + options.jitter) * (1 + 1e-12))
        },
      ),
    )
  })

  test('refuses a ceiling below the first delay', () => {
    expect(() => createBackoff({ initialMs: 100, maxMs: 50 }, middle)).toThrow(
      'maxMs is 50: it must be a number between 100 and 86400000',
    )
  })
})
