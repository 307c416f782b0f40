import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SEVERITIES } from './pack-schema.ts'
import { DEDUCTIONS, scoreOf, verdictOf } from './score.ts'

const ruleCount = fc.record({
  ruleId: fc.string({ minLength: 1, maxLength: 4 }),
  severity: fc.constantFrom(...SEVERITIES),
  count: fc.nat(20),
  maxCount: fc.integer({ min: 1, max: 10 }),
})

it('is 100 minus the ledger, never below 0, with each rule capped', () => {
  fc.assert(
    fc.property(fc.array(ruleCount, { maxLength: 20 }), (counts) => {
      const { score, ledger } = scoreOf(counts)
      const expected = counts.reduce(
        (sum, { severity, count, maxCount }) => sum + DEDUCTIONS[severity] * Math.min(count, maxCount),
        0,
      )
      expect(ledger.reduce((sum, { deduction }) => sum + deduction, 0)).toBe(expected)
      expect(score).toBe(expected > 100 ? 0 : 100 - expected)
      expect(ledger.length).toBe(counts.filter(({ count }) => count > 0).length)
    }),
  )
})

it('never rises when a rule finds more', () => {
  fc.assert(
    fc.property(fc.array(ruleCount, { minLength: 1, maxLength: 8 }), fc.nat(7), (counts, index) => {
      const more = counts.map((entry, at) =>
        at === index % counts.length ? { ...entry, count: entry.count + 1 } : entry,
      )
      expect(scoreOf(more).score).toBeLessThanOrEqual(scoreOf(counts).score)
    }),
  )
})

it('fails below 70 or with a critical finding, and passes only what was wholly assessed', () => {
  expect(verdictOf(69, false, true)).toBe('fail')
  expect(verdictOf(80, true, false)).toBe('fail')
  expect(verdictOf(70, false, true)).toBe('pass')
  expect(verdictOf(100, false, false)).toBe('incomplete')
  expect(verdictOf(null, false, true)).toBe('incomplete')
})
