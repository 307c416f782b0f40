import { parseNumberWords } from '../number-words.ts'

/** "30 (trinta) dias úteis"; `days` takes a month as 30 and a year as 360, to compare only. */
export interface Duration {
  readonly start: number
  readonly end: number
  readonly amount: number
  readonly days: number
  readonly businessDays: boolean
  /** The number in brackets, when it is one. */
  readonly inWords?: number
}

const DURATION =
  /(?<![\d.,/])(?<amount>\d{1,4})\s{0,2}(?:\((?<words>[\p{L}\s-]{2,40})\)\s{0,2})?(?<before>business|working|calendar)?\s{0,2}(?<unit>horas?|dias?|semanas?|meses|m[êe]s|anos?|hours?|days?|weeks?|months?|years?)(?![\p{L}])(?:\s(?<after>úteis|uteis|corridos))?/giu
const DAYS: readonly (readonly [RegExp, number])[] = [
  [/^h/i, 1 / 24],
  [/^d/i, 1],
  [/^(sem|w)/i, 7],
  [/^m/i, 30],
  [/^(a|y)/i, 360],
]

export const findDurations = (text: string): readonly Duration[] =>
  [...text.matchAll(DURATION)].map((match) => {
    const { amount = '', words, unit = '', before = '', after = '' } = match.groups ?? {}
    const inWords = words === undefined ? undefined : parseNumberWords(words)
    return {
      start: match.index,
      end: match.index + match[0].length,
      amount: Number(amount),
      days: Number(amount) * (DAYS.find(([pattern]) => pattern.test(unit))?.[1] ?? 1),
      businessDays: /^(business|working|úteis|uteis)$/i.test(before || after),
      ...(inWords !== undefined && { inWords }),
    }
  })

/** 12 months, 360 and 365 days are the same length; business days never equal calendar days. */
export const sameLength = (a: Duration, b: Duration): boolean =>
  a.businessDays === b.businessDays && Math.abs(a.days - b.days) <= 0.02 * Math.max(a.days, b.days)
