import { expect, it } from 'vitest'
import { countSyllables, detectLanguage, fleschEase } from './language.ts'

const detect = (text: string) => detectLanguage(text.split(' '))

it.each([
  ['pt', 'o prazo de entrega e de dez dias e nao sera prorrogado pela parte que o pediu'],
  ['en', 'the supplier shall deliver the goods to the place named by the buyer in this order'],
  ['es', 'el plazo de entrega es de diez dias y no sera prorrogado por la parte que lo pidio en su carta'],
  ['fr', 'le vendeur est tenu de livrer les biens au lieu qui est choisi par l acheteur dans la commande'],
  ['unknown', 'zorp blik fnar wub dax plin gorp tiv smeg nog vrel quib hask'],
])('detects %s', (language, text) => {
  expect(detect(text)).toBe(language)
})

it('does not judge a few words', () => {
  expect(detect('the end of the day')).toBe('unknown')
})

it.each([
  ['casa', 'pt', 2],
  ['obrigacao', 'pt', 4],
  ['agua', 'pt', 2],
  ['dia', 'pt', 2],
  ['the', 'en', 1],
  ['table', 'en', 2],
  ['agreement', 'en', 3],
  ['made', 'en', 1],
] as const)('counts the syllables of %s', (word, language, count) => {
  expect(countSyllables(word, language)).toBe(count)
})

it('gives 42 points more in Portuguese for the same counts', () => {
  const counts = { words: 100, sentences: 5, syllables: 150 }
  expect(fleschEase(counts, 'en')).toBeCloseTo(59.635)
  expect(fleschEase(counts, 'pt') - fleschEase(counts, 'en')).toBeCloseTo(42)
})
