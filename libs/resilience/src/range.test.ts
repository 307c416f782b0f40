import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkRange } from './range.ts'

describe('checkRange', () => {
  test('names the option, its value and both bounds', () => {
    expect(() => checkRange({ fine: 5, openMs: 0 }, 1, 60_000)).toThrow(
      new RangeError('openMs is 0: it must be a number between 1 and 60000'),
    )
  })

  test('refuses NaN and fractions of what must be whole', () => {
    expect(() => checkRange({ ratio: Number.NaN }, 0, 1)).toThrow('ratio is NaN')
    expect(() => checkRange({ probes: 1.5 }, 1, 3, { whole: true })).toThrow(
      'probes is 1.5: it must be a whole number between 1 and 3',
    )
  })

  test('accepts exactly the closed interval', () => {
    fc.assert(
      fc.property(fc.double(), fc.double({ noNaN: true }), fc.double({ noNaN: true }), (value, a, b) => {
        const [min, max] = [Math.min(a, b), Math.max(a, b)]
        const check = () => checkRange({ value }, min, max)
        if (value >= min && value <= max) expect(check).not.toThrow()
        else expect(check).toThrow(RangeError)
      }),
    )
  })
})
