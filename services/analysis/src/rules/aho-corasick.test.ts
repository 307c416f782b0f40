import fc from 'fast-check'
import { expect, it } from 'vitest'
import { buildAutomaton } from './aho-corasick.ts'

const naive = (patterns: readonly string[], text: string): string[] =>
  patterns.flatMap((pattern) =>
    Array.from({ length: text.length }, (_, start) => start)
      .filter((start) => text.startsWith(pattern, start))
      .map((start) => `${pattern}@${start}`),
  )

it('finds what a naive search finds, overlaps included', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 60 })
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.uniqueArray(pattern, { maxLength: 12 }), letters, (patterns, text) => {
      const { patterns: known, scan } = buildAutomaton(patterns)
      const found: string[] = []
      scan(text, (id, start, end) => {
        expect(text.slice(start, end)).toBe(known[id])
        found.push(`${known[id]}@${start}`)
      })
      expect(found.sort()).toEqual(naive(patterns, text).sort())
    }),
    { numRuns: 500 },
  )
})

it('reports matches ordered by their end', () => {
  const ends: number[] = []
  buildAutomaton(['he', 'she', 'hers']).scan('ushers', (_, __, end) => ends.push(end))
  expect(ends).toEqual([4, 4, 6])
})

it('finds nothing without patterns', () => {
  const found: number[] = []
  buildAutomaton([]).scan('text', (id) => found.push(id))
  expect(found).toEqual([])
})
