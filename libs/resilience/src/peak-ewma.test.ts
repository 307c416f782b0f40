import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPeakEwma, type PeakEwma, type PeakEwmaOptions } from './peak-ewma.ts'

function scene(options: PeakEwmaOptions = {}) {
  const clock = { nowMs: 0 }
  const ewma = createPeakEwma(options, { now: () => clock.nowMs })
  function call(rttMs: number, end: 'success' | 'failure' | 'cancel' = 'success') {
    const startedAtMs = ewma.start()
    clock.nowMs += rttMs
    ewma[end](startedAtMs)
  }
  return { clock, ewma, call }
}

describe('createPeakEwma', () => {
  test('starts at one second and decays by the clock', () => {
    const { clock, ewma } = scene()
    expect(ewma.cost()).toBe(1_000)
    clock.nowMs = 10_000
    expect(ewma.cost()).toBeCloseTo(1_000 / Math.E)
  })

  test('takes a peak at once and forgets it slowly', () => {
    const { clock, ewma, call } = scene({ firstEstimateMs: 10 })
    call(2_000)
    expect(ewma.estimateMs()).toBe(2_000)
    clock.nowMs += 10_000 - 50
    call(50)
    expect(ewma.estimateMs()).toBeCloseTo(2_000 / Math.E + 50 * (1 - 1 / Math.E))
  })

  test('multiplies by the pending calls plus one', () => {
    const { ewma } = scene()
    ewma.start()
    ewma.start()
    expect(ewma.pending()).toBe(2)
    expect(ewma.cost()).toBe(3_000)
  })

  test('costs more with each moment that a call hangs', () => {
    const { clock, ewma, call } = scene({ firstEstimateMs: 5 })
    call(5)
    ewma.start()
    clock.nowMs += 400
    expect(ewma.cost()).toBe(800)
  })

  test('counts a fast failure as five seconds', () => {
    const { ewma, call } = scene()
    call(1, 'failure')
    expect(ewma.estimateMs()).toBe(5_000)
  })

  test('counts a failure slower than that as what it took', () => {
    const { ewma, call } = scene()
    call(7_000, 'failure')
    expect(ewma.estimateMs()).toBe(7_000)
  })

  test('honours pushback up to 300 s', () => {
    const { ewma } = scene()
    ewma.failure(ewma.start(), 60_000)
    expect(ewma.estimateMs()).toBe(60_000)
    ewma.failure(ewma.start(), 3_600_000)
    expect(ewma.estimateMs()).toBe(300_000)
  })

  test('learns from a call given up late, and nothing from one given up early', () => {
    const { ewma, call } = scene({ firstEstimateMs: 100 })
    call(3_000, 'cancel')
    expect(ewma.estimateMs()).toBe(3_000)
    call(500, 'cancel')
    expect(ewma.estimateMs()).toBeCloseTo(3_000 * Math.exp(-0.05))
    expect(ewma.pending()).toBe(0)
  })

  test('says the same however often it is read', () => {
    const gaps = fc.array(fc.record({ gapMs: fc.nat(20_000), rttMs: fc.nat(3_000), reads: fc.nat(5) }))
    fc.assert(
      fc.property(gaps, (list) => {
        const quiet = scene()
        const busy = scene()
        for (const { gapMs, rttMs, reads } of list) {
          for (let read = 1; read <= reads; read += 1) {
            busy.clock.nowMs = quiet.clock.nowMs + (gapMs * read) / reads
            busy.ewma.cost()
          }
          quiet.clock.nowMs += gapMs
          busy.clock.nowMs = quiet.clock.nowMs
          quiet.call(rttMs)
          busy.call(rttMs)
          expect(busy.ewma.cost()).toBe(quiet.ewma.cost())
        }
      }),
    )
  })

  test('stays between the sample and the highest value seen', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ gapMs: fc.nat(60_000), rttMs: fc.nat(10_000) })), (list) => {
        const { clock, ewma, call } = scene()
        let highestMs = 1_000
        for (const { gapMs, rttMs } of list) {
          clock.nowMs += gapMs
          call(rttMs)
          highestMs = Math.max(highestMs, rttMs)
          expect(ewma.estimateMs()).toBeGreaterThanOrEqual(rttMs - 1e-9)
          expect(ewma.estimateMs()).toBeLessThanOrEqual(highestMs)
        }
      }),
    )
  })

  test('never costs less than the age of the oldest pending call', () => {
    const steps = fc.array(fc.record({ gapMs: fc.nat(5_000), begin: fc.boolean(), pick: fc.nat() }))
    fc.assert(
      fc.property(steps, (list) => {
        const { clock, ewma } = scene({ firstEstimateMs: 1 })
        const open: number[] = []
        for (const { gapMs, begin, pick } of list) {
          clock.nowMs += gapMs
          if (begin || open.length === 0) open.push(ewma.start())
          else finish(ewma, open.splice(pick % open.length, 1))
          const oldestMs = open.length === 0 ? 0 : clock.nowMs - Math.min(...open)
          expect(ewma.pending()).toBe(open.length)
          expect(ewma.cost()).toBeGreaterThanOrEqual(oldestMs * (1 - 1e-9))
        }
      }),
    )
  })

  test('refuses a decay time of nothing', () => {
    expect(() => scene({ decayMs: 0 })).toThrow('decayMs is 0')
  })
})

function finish(ewma: PeakEwma, startedAtMs: readonly number[]): void {
  for (const at of startedAtMs) ewma.success(at)
}
