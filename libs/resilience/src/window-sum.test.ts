import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createWindowSum } from './window-sum.ts'

test('forgets an amount when its bucket leaves the window', () => {
  const window = createWindowSum(1_000, 10)
  window.add(500, 7)
  expect(window.sum(9_999)).toBe(7)
  expect(window.sum(10_000)).toBe(0)
})

test('starts empty at any time', () => {
  const window = createWindowSum(1_000, 10)
  window.add(123_456_789, 1)
  expect(window.sum(123_456_789)).toBe(1)
})

test('equals the sum over the last buckets, whatever the gaps', () => {
  const additions = fc.array(fc.record({ gapMs: fc.nat(4_000), amount: fc.integer({ min: -9, max: 9 }) }))
  fc.assert(
    fc.property(
      additions,
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 2, max: 12 }),
      (list, bucketMs, buckets) => {
        const window = createWindowSum(bucketMs, buckets)
        const log: { bucket: number; amount: number }[] = []
        let atMs = 0
        for (const { gapMs, amount } of list) {
          atMs += gapMs
          const bucket = Math.floor(atMs / bucketMs)
          log.push({ bucket, amount })
          window.add(atMs, amount)
          const counted = log.filter((entry) => entry.bucket > bucket - buckets)
          expect(window.sum(atMs)).toBe(counted.reduce((sum, entry) => sum + entry.amount, 0))
        }
      },
    ),
  )
})
