import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findOutliers, type HostCounts } from './outlier-sweep.ts'

const host = (successes: number, failures: number): HostCounts => ({ successes, failures })
const good = (hosts: number): HostCounts[] => Array.from({ length: hosts }, () => host(100, 0))

describe('success rate', () => {
  test('finds the host below the mean by more than 1.9 deviations', () => {
    // Rates 1, 1, 1, 1, 0.5: mean 0.9, deviation 0.2, bound 0.52.
    expect(findOutliers([...good(4), host(50, 50)])).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      'success_rate',
    ])
  })

  test('judges no host below its request volume, nor counts it in the mean', () => {
    expect(findOutliers([...good(4), host(49, 50)])).not.toContain('success_rate')
    expect(findOutliers([...good(4), host(50, 50), host(0, 40)])[4]).toBe('success_rate')
  })

  test('takes what the options say', () => {
    const hosts = [...good(4), host(50, 50)]
    expect(findOutliers(hosts, { stdevFactor: 2.1 })).not.toContain('success_rate')
    expect(findOutliers(hosts, { successRateVolume: 101 })).not.toContain('success_rate')
  })
})

describe('failure percentage', () => {
  test('is strict: 85 % stays, more goes', () => {
    expect(findOutliers([host(15, 85), host(100, 0)])).toEqual([undefined, undefined])
    expect(findOutliers([host(14, 86), host(100, 0)])).toEqual(['failure_percentage', undefined])
  })

  test('judges no host below its request volume', () => {
    expect(findOutliers([host(0, 49), host(50, 0), host(50, 0)])).toEqual([undefined, undefined, undefined])
    expect(findOutliers([host(0, 50), host(50, 0), host(50, 0)])).toEqual([
      'failure_percentage',
      undefined,
      undefined,
    ])
  })
})

test.each([
  { hosts: 1, needed: 2 },
  { hosts: 2, needed: 2 },
  { hosts: 3, needed: 2 },
  { hosts: 5, needed: 3 },
  { hosts: 8, needed: 4 },
  { hosts: 40, needed: 5 },
])('needs $needed busy hosts among $hosts', ({ hosts, needed }) => {
  const outliersAmong = (busy: number) =>
    findOutliers(Array.from({ length: hosts }, (_, i) => (i < busy ? host(0, 50) : host(0, 0)))).filter(
      (reason) => reason,
    ).length
  expect(outliersAmong(needed - 1)).toBe(0)
  expect(outliersAmong(needed)).toBe(needed <= hosts ? needed : 0)
})

const counts = fc.record({ successes: fc.nat(1_000), failures: fc.nat(1_000) })

test('finds no success-rate outlier among hosts that are all alike, nor among fewer than five', () => {
  fc.assert(
    fc.property(counts, fc.integer({ min: 1, max: 50 }), (alike, hosts) => {
      expect(findOutliers(Array.from({ length: hosts }, () => alike))).not.toContain('success_rate')
    }),
  )
  fc.assert(
    fc.property(fc.array(counts, { maxLength: 4 }), (hosts) => {
      expect(findOutliers(hosts)).not.toContain('success_rate')
    }),
  )
})

test('never accuses the best host of its success rate, nor one that fails at most 85 % of its calls', () => {
  fc.assert(
    fc.property(fc.array(counts, { maxLength: 30 }), (hosts) => {
      const rates = hosts.map(({ successes, failures }) => successes / (successes + failures || 1))
      const judged = rates.filter((_, i) => (hosts[i]?.successes ?? 0) + (hosts[i]?.failures ?? 0) >= 100)
      for (const [i, reason] of findOutliers(hosts).entries()) {
        if (reason === 'success_rate') expect(rates[i]).toBeLessThan(Math.max(...judged))
        if (reason === 'failure_percentage') expect(rates[i]).toBeLessThan(0.15)
      }
    }),
  )
})

test('judges a host by its counts, not by its place', () => {
  fc.assert(
    fc.property(fc.array(counts, { maxLength: 12 }), (hosts) => {
      expect(findOutliers(hosts.toReversed()).toReversed()).toEqual(findOutliers(hosts))
    }),
  )
})

test('refuses a percentage above 100', () => {
  expect(() => findOutliers([], { failurePercentage: 101 })).toThrow('failurePercentage is 101')
})
