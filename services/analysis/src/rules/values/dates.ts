import { foldText } from '../fold.ts'
import type { Language } from '../language.ts'

/** A date as written; `iso` is absent when no calendar has that day. */
export interface DateValue {
  readonly start: number
  readonly end: number
  readonly iso?: string
}

const MONTHS: readonly (readonly string[])[] = [
  ['janeiro', 'january', 'jan'],
  ['fevereiro', 'february', 'feb', 'fev'],
  ['marco', 'march', 'mar'],
  ['abril', 'april', 'apr', 'abr'],
  ['maio', 'may', 'mai'],
  ['junho', 'june', 'jun'],
  ['julho', 'july', 'jul'],
  ['agosto', 'august', 'aug', 'ago'],
  ['setembro', 'september', 'sep', 'sept', 'set'],
  ['outubro', 'october', 'oct', 'out'],
  ['novembro', 'november', 'nov'],
  ['dezembro', 'december', 'dec', 'dez'],
]
const MONTH = '(?:[jfmasond][a-zç]{2,8})\\.?'
const SHAPES = new RegExp(
  [
    '(?<![\\d/.-])(?<y>\\d{4})-(?<m>\\d{2})-(?<d>\\d{2})(?![\\d-])',
    '(?<![\\d/.-])(?<a>\\d{1,2})(?<sep>[/.-])(?<b>\\d{1,2})\\k<sep>(?<y2>\\d{4})(?!\\d|/|-\\d)',
    `(?<!\\d)(?<d3>\\d{1,2})(?:º|°|st|nd|rd|th)?\\s+(?:de\\s+|of\\s+)?(?<m3>${MONTH}),?\\s+(?:de\\s+)?(?<y3>\\d{4})(?!\\d)`,
    `(?<![\\p{L}])(?<m4>${MONTH})\\s+(?<d4>\\d{1,2})(?:st|nd|rd|th)?,?\\s+(?<y4>\\d{4})(?!\\d)`,
  ].join('|'),
  'giu',
)

const daysIn = (year: number, month: number): number => new Date(Date.UTC(year, month, 0)).getUTCDate()

const isoDate = (year: number, month: number, day: number): string | undefined =>
  month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month)
    ? `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
    : undefined

const monthOf = (name: string): number => {
  const plain = foldText(name).replace('.', '')
  return MONTHS.findIndex((names) => names.includes(plain)) + 1
}

/** Figures are day/month/year; an English text may also mean month/day/year, tried first when only it exists. */
export const findDates = (text: string, language: Language): readonly DateValue[] => {
  const dates: DateValue[] = []
  for (const match of text.matchAll(SHAPES)) {
    const group = match.groups ?? {}
    const year = Number(group.y ?? group.y2 ?? group.y3 ?? group.y4)
    if (year < 1800 || year > 2300) continue
    let iso: string | undefined
    if (group.y2 !== undefined) {
      const [a, b] = [Number(group.a), Number(group.b)]
      iso = isoDate(year, b, a)
      if (language === 'en') iso = isoDate(year, a, b) ?? iso
    } else {
      const name = group.m3 ?? group.m4
      const month = name === undefined ? Number(group.m) : monthOf(name)
      if (name !== undefined && month === 0) continue
      iso = isoDate(year, month, Number(group.d ?? group.d3 ?? group.d4))
    }
    const span = { start: match.index, end: match.index + match[0].length }
    dates.push(iso === undefined ? span : { ...span, iso })
  }
  return dates
}
