import { fakeClock } from '@docmesh/testing'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createAllowance } from './allowance.ts'

it('gives its burst, then so many per second, and saves up no more than the burst', () => {
  const { now, advance } = fakeClock()
  const { take } = createAllowance({ burst: 3, perSecond: 2, now })
  const taken = (tries: number) => Array.from({ length: tries }, take).filter(Boolean).length
  expect(taken(5)).toBe(3)
  advance(500)
  expect(taken(5)).toBe(1)
  advance(60_000)
  expect(taken(5)).toBe(3)
})

it('never gives more than its burst and what the time brought', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 1_000 }), { maxLength: 100 }), (pauses) => {
      const { now, advance } = fakeClock()
      const { take } = createAllowance({ burst: 5, perSecond: 4, now })
      let given = 0
      for (const pause of pauses) {
        advance(pause)
        if (take()) given++
        expect(given).toBeLessThanOrEqual(5 + (now() / 1_000) * 4)
      }
    }),
  )
})
