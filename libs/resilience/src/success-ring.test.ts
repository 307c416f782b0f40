import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createSuccessRing } from './success-ring.ts'

describe('createSuccessRing', () => {
  test('has no failures before the first call', () => {
    const ring = createSuccessRing({}, { now: () => 0 })
    expect(ring.calls()).toBe(0)
    expect(ring.failureRatio()).toBe(0)
  })

  test('keeps a burst of failures for ten buckets, however many successes follow in between', () => {
    let nowMs = 0
    const ring = createSuccessRing({}, { now: () => nowMs })
    for (let call = 0; call < 10; call += 1) ring.failure()
    nowMs = 9_000
    for (let call = 0; call < 30; call += 1) ring.success()
    expect(ring.failureRatio()).toBe(0.25)
    nowMs = 10_000
    expect(ring.failureRatio()).toBe(0)
    expect(ring.calls()).toBe(30)
  })

  test('is exact for any mix', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1 }), (outcomes) => {
        const ring = createSuccessRing({}, { now: () => 0 })
        for (const ok of outcomes) ok ? ring.success() : ring.failure()
        expect(ring.calls()).toBe(outcomes.length)
        expect(ring.failureRatio()).toBe(outcomes.filter((ok) => !ok).length / outcomes.length)
      }),
    )
  })
})
