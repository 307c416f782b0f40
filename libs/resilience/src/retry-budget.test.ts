import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRetryBudget } from './retry-budget.ts'

describe('createRetryBudget', () => {
  test('grants the floor of the whole window to a client that has called nobody', () => {
    const budget = createRetryBudget({}, { now: () => 0 })
    const granted = Array.from({ length: 150 }, budget.tryWithdraw).filter(Boolean)
    expect(granted).toHaveLength(100)
    expect(budget.available()).toBe(0)
  })

  test('grants one retry for five calls', () => {
    const budget = createRetryBudget({ minPerSecond: 0 }, { now: () => 0 })
    for (let call = 0; call < 4; call += 1) budget.deposit()
    expect(budget.tryWithdraw()).toBe(false)
    budget.deposit()
    expect(budget.tryWithdraw()).toBe(true)
    expect(budget.tryWithdraw()).toBe(false)
  })

  test('forgets calls and retries after the window', () => {
    let nowMs = 0
    const budget = createRetryBudget({ ratio: 1, minPerSecond: 0 }, { now: () => nowMs })
    budget.deposit()
    expect(budget.tryWithdraw()).toBe(true)
    nowMs = 5_000
    budget.deposit()
    expect(budget.tryWithdraw()).toBe(true)
    budget.deposit()
    nowMs = 10_000
    expect(budget.available()).toBe(1)
    nowMs = 15_000
    expect(budget.available()).toBe(0)
  })

  test('never grants more than ratio × calls + floor', () => {
    const steps = fc.array(fc.record({ gapMs: fc.nat(900), calls: fc.nat(20), retries: fc.nat(40) }), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(
        steps,
        fc.double({ min: 0, max: 2, noNaN: true }),
        fc.nat(3),
        (list, ratio, minPerSecond) => {
          let nowMs = 0
          const budget = createRetryBudget({ ratio, minPerSecond }, { now: () => nowMs })
          const log: { bucket: number; calls: number; granted: number }[] = []
          for (const { gapMs, calls, retries } of list) {
            nowMs += gapMs
            for (let call = 0; call < calls; call += 1) budget.deposit()
            const granted = Array.from({ length: retries }, budget.tryWithdraw).filter(Boolean).length
            const bucket = Math.floor(nowMs / 1_000)
            log.push({ bucket, calls, granted })
            const recent = log.filter((entry) => entry.bucket > bucket - 10)
            const allowed = ratio * recent.reduce((sum, entry) => sum + entry.calls, 0) + minPerSecond * 10
            const spent = recent.reduce((sum, entry) => sum + entry.granted, 0)
            if (granted > 0) expect(spent).toBeLessThanOrEqual(allowed)
            if (granted < retries) expect(spent).toBeGreaterThan(allowed - 1 - 1e-9)
          }
        },
      ),
    )
  })

  test('refuses a window outside one second to one minute', () => {
    expect(() => createRetryBudget({ windowMs: 999 }, { now: () => 0 })).toThrow('windowMs is 999')
  })
})
