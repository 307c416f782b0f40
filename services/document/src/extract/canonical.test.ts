import fc from 'fast-check'
import { expect, test } from 'vitest'
import { outline, problems } from '../../fixtures/checks.ts'
import { CanonicalText } from './canonical.ts'
import { defaultLimits } from './extracted.ts'

const open = (limits = {}) => new CanonicalText({ ...defaultLimits, ...limits })

test('any sequence of blocks, rows and page breaks gives sound offsets', () => {
  const piece = fc.string({
    unit: fc.constantFrom('a', 'é', 'e\u0301', ' ', '\n', '\r', '\f', '\t', '\0', '\ud800', '\u00ad'),
  })
  const step = fc.oneof(
    fc.record({ raw: piece, preformatted: fc.boolean() }),
    fc.array(piece, { minLength: 1, maxLength: 4 }),
    fc.constant('break'),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const canonical = open()
      for (const next of steps) {
        if (next === 'break') canonical.pageBreak()
        else if (Array.isArray(next)) canonical.addRow(next)
        else if (typeof next === 'object')
          canonical.add('paragraph', next.raw, { preformatted: next.preformatted })
      }
      expect(problems(canonical.finish('text/plain', 'test'))).toEqual([])
    }),
  )
})

test('composes accents, joins blanks and drops soft hyphens', () => {
  const canonical = open()
  canonical.add('paragraph', '  ac\u0327a\u0303o\u00a0\u00a0con\u00adforme \r\n fim ')
  expect(canonical.finish('', '').text).toBe('ação conforme\nfim')
})

test('keeps the indentation of preformatted text', () => {
  const canonical = open()
  canonical.add('code', '\n  if x:\n    y\n', { preformatted: true })
  expect(canonical.finish('', '').text).toBe('  if x:\n    y')
})

test('a form feed inside a block starts a page inside of it', () => {
  const canonical = open()
  canonical.add('paragraph', 'one \f two')
  canonical.add('paragraph', 'three')
  const { pages, blocks, text } = canonical.finish('', '')
  expect(pages.map(({ start, end }) => text.slice(start, end))).toEqual(['one ', 'two\n\nthree'])
  expect(blocks.map(({ page }) => page)).toEqual([1, 2])
})

test('cells of a row are separated by tabs and empty ones are kept', () => {
  const canonical = open()
  canonical.addRow(['Total', '', 'R$\n1,00'])
  expect(outline(canonical.finish('', ''))).toEqual([
    ['table_row', 'Total\t\tR$ 1,00'],
    ['table_cell', 'Total'],
    ['table_cell', ''],
    ['table_cell', 'R$ 1,00'],
  ])
})

test('refuses more text and more pages than allowed', () => {
  expect(() => open({ maxTextChars: 4 }).add('paragraph', 'five!')).toThrow(/too large/)
  const canonical = open({ maxPages: 2 })
  canonical.add('paragraph', 'a\fb')
  expect(() => canonical.add('paragraph', '\fc')).toThrow(/too many pages/)
})

test('keeps a hundred signals of a kind and counts the rest', () => {
  const canonical = open()
  for (let count = 0; count < 150; count++) canonical.signal('comment', 'x'.repeat(400))
  canonical.signal('macro', 'm')
  const { signals, properties } = canonical.finish('', '')
  expect(signals).toHaveLength(101)
  expect(signals[0]?.detail).toHaveLength(300)
  expect(signals.at(-1)?.kind).toBe('macro')
  expect(properties['signals.comment']).toBe('150')
})
