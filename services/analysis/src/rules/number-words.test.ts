import { expect, it } from 'vitest'
import { parseClauseNumber, parseMoneyWords, parseNumberWords } from './number-words.ts'

it.each([
  ['trinta e cinco', 35],
  ['mil', 1000],
  ['cento e vinte mil quatrocentos e um', 120_401],
  ['dois milhões e quinhentos mil', 2_500_000],
  ['forty-five', 45],
  ['one hundred and twelve thousand three hundred', 112_300],
])('reads "%s" as %d', (words, value) => {
  expect(parseNumberWords(words)).toBe(value)
})

it.each([
  ['mil duzentos e trinta e quatro reais e cinquenta e seis centavos', 123_456],
  ['um milhão de reais', 100_000_000],
  ['noventa centavos', 90],
  ['twelve thousand five hundred dollars and ten cents', 1_250_010],
])('reads "%s" as %d hundredths', (words, cents) => {
  expect(parseMoneyWords(words)).toBe(cents)
})

it('gives up on words that are no number', () => {
  expect(parseMoneyWords('valor de referência')).toBeUndefined()
  expect(parseNumberWords('')).toBeUndefined()
})

it.each([
  ['14ª', '14'],
  ['5.2', '5.2'],
  ['XIV', '14'],
  ['DÉCIMA QUARTA', '14'],
  ['vigésima', '20'],
  ['fourteen', '14'],
  ['seguinte', undefined],
])('reads the clause number %s', (text, number) => {
  expect(parseClauseNumber(text)).toBe(number)
})
