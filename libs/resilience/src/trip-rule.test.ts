import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTripRule } from './trip-rule.ts'

describe('the rate rule', () => {
  test('says nothing before the twentieth call', () => {
    const rule = createTripRule({ kind: 'RATE' })
    const verdicts = Array.from({ length: 20 }, () => rule.record(true, 1))
    expect(verdicts.slice(0, 19).every((verdict) => verdict === undefined)).toBe(true)
    expect(verdicts[19]).toBe('FAILURE_RATE')
  })

  test('trips when every call is slow, though none fails', () => {
    const rule = createTripRule({ kind: 'RATE', slowCallMs: 200 })
    for (let call = 0; call < 19; call += 1) rule.record(false, 201)
    expect(rule.record(false, 201)).toBe('SLOW_RATE')
  })

  test('takes a call of exactly the threshold for fast', () => {
    const rule = createTripRule({ kind: 'RATE', slowCallMs: 200, minimumCalls: 1 })
    expect(rule.record(false, 200)).toBeUndefined()
    expect(rule.counts()).toEqual({ calls: 1, failures: 0, slow: 0 })
  })

  test('has no slow calls without a threshold', () => {
    const rule = createTripRule({ kind: 'RATE', minimumCalls: 1 })
    expect(rule.record(false, 1e12)).toBeUndefined()
  })

  test('trips exactly at a rate that binary fractions cannot hold', () => {
    const rule = createTripRule({ kind: 'RATE', minimumCalls: 100, failureRate: 0.07 })
    for (let call = 0; call < 93; call += 1) rule.record(false, 1)
    for (let call = 0; call < 6; call += 1) rule.record(true, 1)
    expect(rule.record(true, 1)).toBe('FAILURE_RATE')
  })

  test('counts exactly the last calls of the window', () => {
    const calls = fc.array(fc.record({ failed: fc.boolean(), durationMs: fc.nat(400) }), { maxLength: 60 })
    fc.assert(
      fc.property(calls, fc.integer({ min: 1, max: 25 }), (list, windowCalls) => {
        const rule = createTripRule({ kind: 'RATE', windowCalls, minimumCalls: 1, slowCallMs: 200 })
        list.forEach(({ failed, durationMs }, index) => {
          const verdict = rule.record(failed, durationMs)
          const last = list.slice(Math.max(0, index + 1 - windowCalls), index + 1)
          const failures = last.filter((call) => call.failed).length
          const slow = last.filter((call) => call.durationMs > 200).length
          expect(rule.counts()).toEqual({ calls: last.length, failures, slow })
          expect(verdict !== undefined).toBe(failures * 2 >= last.length || slow === last.length)
        })
      }),
    )
  })

  test('refuses a minimum that the window cannot reach', () => {
    expect(() => createTripRule({ kind: 'RATE', windowCalls: 10 })).toThrow(
      'minimumCalls is 20: it must be a whole number between 1 and 10',
    )
  })
})

describe('the consecutive rule', () => {
  test('trips at the threshold and starts over with a success', () => {
    const rule = createTripRule({ kind: 'CONSECUTIVE', failureThreshold: 3 })
    const outcomes = [true, true, false, true, true, true]
    expect(outcomes.map((failed) => rule.record(failed, 1))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      'CONSECUTIVE_FAILURES',
    ])
  })

  test('refuses a threshold of nothing', () => {
    expect(() => createTripRule({ kind: 'CONSECUTIVE', failureThreshold: 0 })).toThrow(
      'failureThreshold is 0',
    )
  })
})
