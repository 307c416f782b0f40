import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createExpiryGuard } from './guard.ts'

const WINDOW_MS = 15_000

describe('the guard against mass expiry', () => {
  it('believes two in a mesh of any size, and 15 % of a large one', () => {
    const judge = (lapsed: number, listed: number) =>
      createExpiryGuard({ windowMs: WINDOW_MS }).judge(0, lapsed, listed)
    expect([judge(1, 1), judge(2, 2), judge(2, 3), judge(3, 20), judge(15, 100)]).toEqual(
      Array.from({ length: 5 }, () => false),
    )
    expect([judge(3, 3), judge(3, 19), judge(16, 100), judge(100, 100)]).toEqual(
      Array.from({ length: 4 }, () => true),
    )
  })

  it('counts those that it let go within the window, for they run out one after the other', () => {
    const guard = createExpiryGuard({ windowMs: WINDOW_MS })
    for (const [at, listed] of [
      [0, 10],
      [1_000, 9],
    ] as const) {
      expect(guard.judge(at, 1, listed)).toBe(false)
      guard.delisted(at)
    }
    expect(guard.judge(2_000, 1, 8)).toBe(true)
    expect(guard.judge(WINDOW_MS - 1, 1, 8)).toBe(true)
    expect(guard.judge(WINDOW_MS, 1, 8)).toBe(false)
  })

  it('never lets more than its share go within one window, whenever they run out', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 200 }),
        fc.array(fc.nat({ max: 5_000 }), { maxLength: 200 }),
        (more, pauses) => {
          const guard = createExpiryGuard({ windowMs: WINDOW_MS })
          const total = pauses.length + more
          const gone: number[] = []
          let now = 0
          let lapsed = 0
          for (const pause of pauses) {
            now += pause
            lapsed++
            while (lapsed > 0 && !guard.judge(now, lapsed, total - gone.length)) {
              lapsed--
              gone.push(now)
              guard.delisted(now)
            }
          }
          for (const at of gone) {
            const before = gone.filter((each) => each < at - WINDOW_MS + 1).length
            const within = gone.filter((each) => each > at - WINDOW_MS && each <= at).length
            expect(within).toBeLessThanOrEqual(Math.max(2, 0.15 * (total - before)))
          }
        },
      ),
    )
  })
})
