import { foldText } from './fold.ts'

const CARDINALS: Readonly<Record<string, number>> = {
  ...{ zero: 0, um: 1, uma: 1, dois: 2, duas: 2, tres: 3, quatro: 4, cinco: 5, seis: 6, sete: 7, oito: 8 },
  ...{ nove: 9, dez: 10, onze: 11, doze: 12, treze: 13, quatorze: 14, catorze: 14, quinze: 15 },
  ...{ dezesseis: 16, dezasseis: 16, dezessete: 17, dezoito: 18, dezenove: 19, vinte: 20, trinta: 30 },
  ...{ quarenta: 40, cinquenta: 50, sessenta: 60, setenta: 70, oitenta: 80, noventa: 90, cem: 100 },
  ...{ cento: 100, duzentos: 200, duzentas: 200, trezentos: 300, trezentas: 300, quatrocentos: 400 },
  ...{ quatrocentas: 400, quinhentos: 500, quinhentas: 500, seiscentos: 600, seiscentas: 600 },
  ...{ setecentos: 700, setecentas: 700, oitocentos: 800, oitocentas: 800, novecentos: 900, novecentas: 900 },
  ...{ a: 1, one: 1, two: 2, three: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9, ten: 10 },
  ...{ eleven: 11, twelve: 12, thirteen: 13, fourteen: 14, fifteen: 15, sixteen: 16, seventeen: 17 },
  ...{ eighteen: 18, nineteen: 19, twenty: 20, thirty: 30, forty: 40, fifty: 50, sixty: 60, seventy: 70 },
  ...{ eighty: 80, ninety: 90 },
}
const SCALES: Readonly<Record<string, number>> = {
  ...{ mil: 1e3, milhao: 1e6, milhoes: 1e6, bilhao: 1e9, bilhoes: 1e9 },
  ...{ thousand: 1e3, million: 1e6, billion: 1e9 },
}
const ORDINALS: Readonly<Record<string, number>> = {
  ...{ primeir: 1, segund: 2, terceir: 3, quart: 4, quint: 5, sext: 6, setim: 7, oitav: 8, non: 9 },
  ...{ decim: 10, vigesim: 20, trigesim: 30, quadragesim: 40, quinquagesim: 50, sexagesim: 60 },
}
const JOINERS = new Set(['e', 'and', 'de', 'of'])
const MAJOR = /^(reais|real|dolar(es)?|dollars?|euros?|pounds?|libras?)$/
const MINOR = /^(centavos?|cents?|centimos?|pence|penny)$/

const wordsOf = (text: string): string[] => foldText(text).match(/[a-z]+/g) ?? []

const numberOf = (words: readonly string[]): number | undefined => {
  let total = 0
  let group: number | undefined
  for (const word of words) {
    const cardinal = CARDINALS[word]
    const scale = SCALES[word]
    if (cardinal !== undefined) group = (group ?? 0) + cardinal
    else if (word === 'hundred') group = (group ?? 1) * 100
    else if (scale !== undefined) {
      total += (group ?? 1) * scale
      group = 0
    } else if (!JOINERS.has(word)) return undefined
  }
  return group === undefined ? undefined : total + group
}

/** "trinta e cinco", "thirty-five" → 35; undefined when a word is no number. */
export const parseNumberWords = (text: string): number | undefined => numberOf(wordsOf(text))

/** "mil reais e dez centavos" → 100010 (hundredths of the currency); undefined when it is no amount. */
export const parseMoneyWords = (text: string): number | undefined => {
  const words = wordsOf(text)
  const major = words.findIndex((word) => MAJOR.test(word))
  const minor = words.findIndex((word) => MINOR.test(word))
  if (major === -1 && minor !== -1) return numberOf(words.slice(0, minor))
  const whole = numberOf(words.slice(0, major === -1 ? words.length : major))
  if (whole === undefined) return undefined
  const cents = minor === -1 ? 0 : numberOf(words.slice(major + 1, minor))
  return cents === undefined ? undefined : Math.round(whole * 100) + cents
}

const ROMAN: Readonly<Record<string, number>> = { i: 1, v: 5, x: 10, l: 50, c: 100 }

const parseRoman = (text: string): number | undefined => {
  if (!/^(?=.)(c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})$/.test(text)) return undefined
  const values = [...text].map((char) => ROMAN[char] ?? 0)
  return values.reduce((sum, value, index) => sum + (value < (values[index + 1] ?? 0) ? -value : value), 0)
}

/** "14", "14ª", "XIV", "décima quarta", "fourteen" → "14"; "5.2" stays; undefined when it is no clause number. */
export const parseClauseNumber = (text: string): string | undefined => {
  const plain = foldText(text)
  const figures = /^(\d{1,3}(?:\.\d{1,3})*)\.?[ao°]?$/.exec(plain)?.[1]
  if (figures !== undefined) return figures
  const ordinals = wordsOf(plain).map((word) => ORDINALS[word.replace(/[ao]$/, '')])
  if (ordinals.length > 0 && ordinals.every((value) => value !== undefined)) {
    return String(ordinals.reduce((sum, value) => sum + (value ?? 0), 0))
  }
  const value = parseRoman(plain) ?? parseNumberWords(plain)
  return value === undefined || value === 0 ? undefined : String(value)
}
