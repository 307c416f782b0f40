import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createAdaptiveThrottle } from './adaptive-throttle.ts'

const neverRefuses = () => 0.999_999
const refusesWhenItCan = () => 0

describe('createAdaptiveThrottle', () => {
  test('admits everything while the backend accepts two calls of three', () => {
    const throttle = createAdaptiveThrottle({}, { now: () => 0, random: refusesWhenItCan })
    for (let call = 0; call < 300; call += 1) {
      expect(throttle.admit()).toBe(true)
      if (call % 3 === 0) throttle.refused()
      else throttle.accepted()
    }
    expect(throttle.probability()).toBe(0)
  })

  test('leaves the first five failures of a quiet client alone', () => {
    const throttle = createAdaptiveThrottle({}, { now: () => 0, random: refusesWhenItCan })
    const admitted = Array.from({ length: 8 }, () => {
      const isAdmitted = throttle.admit()
      if (isAdmitted) throttle.refused()
      return isAdmitted
    })
    expect(admitted).toEqual([true, true, true, true, true, true, false, false])
  })

  test('counts what it refuses itself', () => {
    const throttle = createAdaptiveThrottle({}, { now: () => 0, random: refusesWhenItCan })
    for (let call = 0; call < 6; call += 1) throttle.refused()
    for (let call = 0; call < 99; call += 1) expect(throttle.admit()).toBe(false)
    expect(throttle.probability()).toBe(100 / 106)
  })

  test('does not hold calls under way against the backend', () => {
    const throttle = createAdaptiveThrottle({}, { now: () => 0, random: refusesWhenItCan })
    for (let call = 0; call < 1_000; call += 1) expect(throttle.admit()).toBe(true)
  })

  test('recovers when the failures leave the window', () => {
    let nowMs = 0
    const throttle = createAdaptiveThrottle({}, { now: () => nowMs, random: refusesWhenItCan })
    for (let call = 0; call < 50; call += 1) throttle.refused()
    expect(throttle.admit()).toBe(false)
    nowMs = 10_000
    expect(throttle.admit()).toBe(true)
  })

  test('forgets what was accepted before the window', () => {
    let nowMs = 0
    const throttle = createAdaptiveThrottle({}, { now: () => nowMs, random: neverRefuses })
    for (let call = 0; call < 50; call += 1) throttle.accepted()
    nowMs = 10_000
    for (let call = 0; call < 20; call += 1) throttle.refused()
    expect(throttle.probability()).toBe(15 / 21)
  })

  test('follows the formula and always stays below 1', () => {
    fc.assert(
      fc.property(fc.nat(2_000), fc.double({ min: 0, max: 1, noNaN: true }), (total, share) => {
        const accepts = Math.floor(total * share)
        const throttle = createAdaptiveThrottle({}, { now: () => 0, random: neverRefuses })
        for (let call = accepts; call < total; call += 1) throttle.refused()
        for (let call = 0; call < accepts; call += 1) throttle.accepted()
        expect(throttle.probability()).toBe(Math.max(0, (total - 5 - 1.5 * accepts) / (total + 1)))
        expect(throttle.probability()).toBeLessThan(1)
      }),
    )
  })

  test('refuses a multiplier below 1', () => {
    expect(() => createAdaptiveThrottle({ multiplier: 0.5 }, { now: () => 0, random: neverRefuses })).toThrow(
      'multiplier is 0.5',
    )
  })
})
