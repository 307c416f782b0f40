import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bucketQuantile } from './quantile.ts'

test('interpolates inside the bucket of the quantile', () => {
  expect(bucketQuantile(0.5, [1, 2, 4], [0, 10, 0, 0])).toBe(1.5)
  expect(bucketQuantile(0.5, [1, 2, 4], [10, 0, 0, 0])).toBe(0.5)
})

test('is the last bound for a quantile above it', () => {
  expect(bucketQuantile(0.99, [1, 2], [1, 0, 9])).toBe(2)
})

test('is undefined when nothing was counted', () => {
  expect(bucketQuantile(0.5, [1, 2], [0, 0, 0])).toBeUndefined()
})

test('lies in the bucket of the exact quantile', () => {
  const bounds = [1, 2, 5, 10, 20, 50, 100]
  const values = fc.array(fc.double({ min: 0.001, max: 100, noNaN: true }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(values, fc.constantFrom(0.5, 0.95, 0.99), (samples, q) => {
      const bucketOf = (value: number) => bounds.findIndex((bound) => value <= bound)
      const counts = Array.from(
        { length: bounds.length + 1 },
        (_, i) => samples.filter((v) => bucketOf(v) === i).length,
      )
      const exact = samples.toSorted((a, b) => a - b)[Math.ceil(q * samples.length) - 1] ?? Number.NaN
      const bucket = bucketOf(exact)
      const estimate = bucketQuantile(q, bounds, counts) ?? Number.NaN
      expect(estimate).toBeLessThanOrEqual(bounds[bucket] ?? Number.NaN)
      expect(estimate).toBeGreaterThanOrEqual(bounds[bucket - 1] ?? 0)
    }),
  )
})
