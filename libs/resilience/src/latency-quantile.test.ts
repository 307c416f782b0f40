import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLatencyQuantile, type LatencyQuantileOptions } from './latency-quantile.ts'

function scene(options: LatencyQuantileOptions = {}) {
  const clock = { nowMs: 0 }
  const latency = createLatencyQuantile(options, { now: () => clock.nowMs })
  const record = (...samples: readonly number[]) => {
    for (const ms of samples) latency.record(ms)
  }
  return { clock, latency, record }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1)

function expectWithin5Percent(actual: number | undefined, exact: number): void {
  expect(actual).toBeGreaterThanOrEqual(exact * 0.95 * (1 - 1e-9))
  expect(actual).toBeLessThanOrEqual(exact * 1.05 * (1 + 1e-9))
}

describe('createLatencyQuantile', () => {
  test('gives the 95th percentile within 5 %', () => {
    const { latency, record } = scene()
    record(...upTo(100))
    expectWithin5Percent(latency.value(), 95)
  })

  test('says nothing before it has twenty calls', () => {
    const { latency, record } = scene()
    record(...upTo(19))
    expect(latency.value()).toBeUndefined()
    record(20)
    expectWithin5Percent(latency.value(), 19)
  })

  test('forgets after ten seconds', () => {
    const { clock, latency, record } = scene()
    record(...upTo(20).map(() => 1_000))
    clock.nowMs = 5_000
    record(...upTo(20).map(() => 10))
    expectWithin5Percent(latency.value(), 1_000)
    clock.nowMs = 10_000
    expectWithin5Percent(latency.value(), 10)
    clock.nowMs = 15_000
    expect(latency.value()).toBeUndefined()
  })

  test('holds what is out of its range for its ends', () => {
    const { latency, record } = scene({ quantile: 0, minimumCalls: 1 })
    record(Number.POSITIVE_INFINITY)
    expectWithin5Percent(latency.value(), 3_600_000)
    record(0)
    expectWithin5Percent(latency.value(), 0.01)
  })

  test('is within 5 % of the sample of that rank, over what the window holds', () => {
    const steps = fc.array(
      fc.record({
        gapMs: fc.nat(3_000),
        samples: fc.array(fc.double({ min: 0.01, max: 3_600_000, noNaN: true }), { maxLength: 30 }),
      }),
      { minLength: 1, maxLength: 20 },
    )
    fc.assert(
      fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), (list, quantile) => {
        const { clock, latency, record } = scene({ quantile, minimumCalls: 1 })
        const log: { slice: number; ms: number }[] = []
        for (const { gapMs, samples } of list) {
          clock.nowMs += gapMs
          record(...samples)
          const slice = Math.floor(clock.nowMs / 1_000)
          log.push(...samples.map((ms) => ({ slice, ms })))
          const held = log.filter((entry) => entry.slice > slice - 10).map(({ ms }) => ms)
          const exact = held.sort((a, b) => a - b)[Math.floor(quantile * (held.length - 1))]
          if (exact === undefined) expect(latency.value()).toBeUndefined()
          else expectWithin5Percent(latency.value(), exact)
        }
      }),
    )
  })

  test('refuses a quantile above one', () => {
    expect(() => scene({ quantile: 95 })).toThrow('quantile is 95: it must be a number between 0 and 1')
  })
})
