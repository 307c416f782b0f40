import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fold, foldText, unfold } from './fold.ts'

it('lowers case, strips accents and joins white space', () => {
  expect(foldText('  CLÁUSULA\n\tDécima – não  ')).toBe('clausula decima - nao')
})

it('drops soft hyphens and combining marks and expands ligatures', () => {
  expect(foldText('re\u00adscisa\u0303o ﬁm nº ½')).toBe('rescisao fim no 1⁄2')
})

it('maps a folded span back to the original text', () => {
  const source = 'Nos  termos da RESCISA\u0303O, ﬁm'
  const folded = fold(source)
  const at = (word: string) => {
    const start = folded.text.indexOf(word)
    const { start: from, end } = unfold(folded, start, start + word.length)
    return source.slice(from, end)
  }
  expect(at('rescisao')).toBe('RESCISA\u0303O')
  expect(at('nos termos')).toBe('Nos  termos')
  expect(at('fim')).toBe('ﬁm')
})

it('keeps offsets ascending and inside the text for any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (source) => {
      const { text, offsets } = fold(source)
      expect(offsets.length).toBe(text.length + 1)
      expect(offsets.at(-1)).toBe(source.length)
      for (let index = 0; index < text.length; index++) {
        expect(offsets[index]).toBeLessThanOrEqual(offsets[index + 1] ?? 0)
      }
    }),
  )
})
