import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inPanic, maxEjected } from './ejection-cap.ts'

test('may eject half of a small cluster, at least one, and 30 % of a large one', () => {
  expect([1, 2, 3, 4, 5, 9, 10, 19, 20, 100].map(maxEjected)).toEqual([1, 1, 1, 2, 2, 4, 3, 5, 6, 30])
})

test('panics below half, not at half, and not without endpoints', () => {
  expect(inPanic(1, 3)).toBe(true)
  expect(inPanic(1, 2)).toBe(false)
  expect(inPanic(0, 0)).toBe(false)
})

test('full ejection alone causes no panic in a cluster of two or more', () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 10_000 }), (n) => !inPanic(n - maxEjected(n), n)))
})
