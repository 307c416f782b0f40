import fc from 'fast-check'
import { expect, it } from 'vitest'
import { durationOf, msOf } from './duration.ts'

it('carries any number of milliseconds, with fewer than a thousand million nanoseconds beside the seconds', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), (ms) => {
      const duration = durationOf(ms)
      expect(duration.nanos).toBeGreaterThanOrEqual(0)
      expect(duration.nanos).toBeLessThan(1e9)
      expect(msOf(duration)).toBeCloseTo(ms, 5)
    }),
  )
})

it('rounds up into the next second', () => {
  expect(durationOf(999.999_999_9)).toEqual({ seconds: 1n, nanos: 0 })
})
