import { parseMoneyWords } from '../number-words.ts'

/** An amount in hundredths of its currency, with the same amount in words when the text gives it in brackets. */
export interface MoneyValue {
  readonly start: number
  readonly end: number
  readonly currency: string
  readonly cents: number
  readonly words?: { readonly start: number; readonly end: number; readonly cents: number }
}

const AMOUNT =
  /(?<sign>R\$|US\$|\$|€|£|(?<![A-Za-z])(?:BRL|USD|EUR|GBP))\s{0,2}(?<figures>\d[\d.,]{0,20}\d|\d)(?!\d)(?:\s(?<scale>mil(?![\p{L}])|milh(?:ão|ões|ao|oes)|bilh(?:ão|ões|ao|oes)|thousand|million|billion))?/gu
const IN_WORDS = /\s{0,2}\((?<words>[\p{L}\s,-]{3,200})\)/uy
const CURRENCIES: Readonly<Record<string, string>> = {
  R$: 'BRL',
  US$: 'USD',
  $: 'USD',
  '€': 'EUR',
  '£': 'GBP',
}
const SCALE = [/^(mil$|thousand)/, /^(milh|million)/, /^(bilh|billion)/]

/** "1.234,56", "1,234.56", "1234" → hundredths: the last separator is a decimal one when 1 or 2 digits follow it. */
export const parseCents = (figures: string): number => {
  const decimals = /[.,](\d{1,2})$/.exec(figures)?.[1]
  const whole = decimals === undefined ? figures : figures.slice(0, -decimals.length - 1)
  return Number(whole.replace(/[.,]/g, '')) * 100 + Number((decimals ?? '').padEnd(2, '0'))
}

export const findMoney = (text: string): readonly MoneyValue[] => {
  const amounts: MoneyValue[] = []
  for (const match of text.matchAll(AMOUNT)) {
    const { sign = '', figures = '', scale } = match.groups ?? {}
    const power = scale === undefined ? 0 : SCALE.findIndex((pattern) => pattern.test(scale)) + 1
    const cents = parseCents(figures) * 1000 ** power
    if (!Number.isSafeInteger(cents)) continue
    const end = match.index + match[0].length
    IN_WORDS.lastIndex = end
    const spelled = IN_WORDS.exec(text)
    const inWords = spelled === null ? undefined : parseMoneyWords(spelled.groups?.words ?? '')
    amounts.push({
      start: match.index,
      end,
      currency: CURRENCIES[sign] ?? sign,
      cents,
      ...(inWords !== undefined && { words: { start: end, end: IN_WORDS.lastIndex, cents: inWords } }),
    })
  }
  return amounts
}

/** 123456 in BRL → "R$ 1.234,56"; other currencies keep their code. */
export const formatMoney = (cents: number, currency: string): string => {
  const figures = new Intl.NumberFormat(currency === 'BRL' ? 'pt-BR' : 'en', {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
  }).format(cents / 100)
  return `${currency === 'BRL' ? 'R$' : currency} ${figures}`
}
