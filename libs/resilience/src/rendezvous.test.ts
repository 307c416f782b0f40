import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { rendezvousScore } from './rendezvous.ts'

type Weights = Readonly<Record<string, number>>

/** Members by descending score. */
function ranking(key: string, members: Weights): string[] {
  return Object.entries(members)
    .map(([member, weight]) => ({ member, score: rendezvousScore(key, member, weight) }))
    .sort((a, b) => b.score - a.score)
    .map(({ member }) => member)
}

const owner = (key: string, members: Weights): string | undefined => ranking(key, members)[0]

const keys = (count: number, prefix = 'tenant-'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`)

const cluster = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 1_000 }), {
  minKeys: 2,
  maxKeys: 12,
})

function countOwners(members: Weights, list: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const key of list) {
    const member = owner(key, members) ?? ''
    counts.set(member, (counts.get(member) ?? 0) + 1)
  }
  return counts
}

describe('rendezvousScore', () => {
  test('moves only the keys of the member that left', () => {
    fc.assert(
      fc.property(cluster, fc.array(fc.string({ unit: 'grapheme' })), fc.nat(), (members, list, at) => {
        const gone = Object.keys(members)[at % Object.keys(members).length] ?? ''
        const { [gone]: _, ...rest } = members
        for (const key of list) {
          const before = owner(key, members)
          if (before !== gone) expect(owner(key, rest)).toBe(before)
          else expect(owner(key, rest)).toBe(ranking(key, members)[1])
        }
      }),
    )
  })

  test('changes one place of a subset when one of its members leaves', () => {
    const members = Object.fromEntries(keys(100, 'document-').map((member) => [member, 100]))
    for (const client of keys(50, 'client-')) {
      const before = ranking(client, members).slice(0, 20)
      const { [before[7] ?? '']: _, ...rest } = members
      const after = ranking(client, rest).slice(0, 20)
      expect(after.filter((member) => !before.includes(member))).toHaveLength(1)
    }
  })

  test('moves keys only to a member whose weight grows', () => {
    fc.assert(
      fc.property(
        cluster,
        fc.array(fc.string()),
        fc.integer({ min: 2, max: 10 }),
        (members, list, growth) => {
          const [heavier = ''] = Object.keys(members)
          const grown = { ...members, [heavier]: (members[heavier] ?? 0) * growth }
          for (const key of list) expect([owner(key, members), heavier]).toContain(owner(key, grown))
        },
      ),
    )
  })

  test.each([
    { weights: [100, 100, 100, 100, 100], prefix: 'tenant-' },
    { weights: [90, 10], prefix: 'session/' },
    { weights: [1, 2, 3, 4, 1_000], prefix: '' },
    { weights: [300, 100, 50], prefix: 'Büro–' },
  ])('shares keys by weight: $weights', ({ weights, prefix }) => {
    const members = Object.fromEntries(weights.map((weight, i) => [`document-${i}`, weight]))
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    const sample = 20_000
    const counts = countOwners(members, keys(sample, prefix))
    for (const [member, weight] of Object.entries(members)) {
      const share = weight / total
      const deviation = Math.sqrt(sample * share * (1 - share))
      expect(Math.abs((counts.get(member) ?? 0) - sample * share)).toBeLessThan(4 * deviation)
    }
  })

  test('spreads the clients of a large service evenly over it', () => {
    const members = Object.fromEntries(keys(100, '10.0.0.').map((member) => [member, 100]))
    const counts = new Map(Object.keys(members).map((member) => [member, 0]))
    for (const client of keys(1_000, 'gateway-')) {
      for (const member of ranking(client, members).slice(0, 20))
        counts.set(member, (counts.get(member) ?? 0) + 1)
    }
    // Each of 1,000 clients has a member with chance 0.2: 200 on average, deviation 12.6.
    for (const count of counts.values()) expect(Math.abs(count - 200)).toBeLessThan(4 * 12.7)
  })

  test('never lets a weight of nothing win', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (key, none, some) => {
        expect(rendezvousScore(key, none, 0)).toBeLessThan(rendezvousScore(key, some, 1))
      }),
    )
  })

  test('tells a key from its member', () => {
    expect(rendezvousScore('ab', 'c')).not.toBe(rendezvousScore('a', 'bc'))
    expect(rendezvousScore('a', 'b')).not.toBe(rendezvousScore('b', 'a'))
  })
})
