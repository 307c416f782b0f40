import { createHash } from 'node:crypto'
import type { Box, DocumentText, Span } from './document-text.ts'
import { type Folded, fold, isWordUnit } from './fold.ts'
import { detectLanguage, type Language } from './language.ts'
import { type Outline, outline } from './sections.ts'
import { type DateValue, findDates } from './values/dates.ts'
import { type Duration, findDurations } from './values/durations.ts'
import { findIdentifiers, type Identifier } from './values/identifiers.ts'
import { findMoney, type MoneyValue } from './values/money.ts'

/** Word starts and ends in the original text, and the folded words. */
export interface Words {
  readonly starts: Uint32Array
  readonly folded: readonly string[]
}

/** One document, with everything rules share computed at most once and on first use. */
export interface Reading {
  readonly document: DocumentText
  readonly folded: () => Folded
  readonly words: () => Words
  readonly outline: () => Outline
  readonly language: () => Language
  readonly dates: () => readonly DateValue[]
  readonly money: () => readonly MoneyValue[]
  readonly durations: () => readonly Duration[]
  readonly identifiers: () => readonly Identifier[]
  /** Paragraphs and list items; the whole text when the document has no blocks. */
  readonly prose: () => readonly Span[]
  /** Pieces between blank lines. */
  readonly paragraphs: () => readonly Span[]
  readonly textSha256: () => string
  readonly wordCount: (span: Span) => number
  readonly wordsIn: (span: Span) => readonly string[]
  readonly pageAt: (offset: number) => number
  readonly boxAt: (offset: number) => Box | undefined
}

const LANGUAGE_SAMPLE = 20_000

const lazy = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** The first index of ascending `values` that is not below `least`. */
export const lowerBound = (values: ArrayLike<number>, least: number): number => {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((values[middle] ?? 0) < least) low = middle + 1
    else high = middle
  }
  return low
}

const findWords = ({ text, offsets }: Folded): Words => {
  const starts: number[] = []
  const folded: string[] = []
  let begin = -1
  for (let index = 0; index <= text.length; index++) {
    const inside = index < text.length && isWordUnit(text.charCodeAt(index))
    if (inside && begin < 0) begin = index
    else if (!inside && begin >= 0) {
      starts.push(offsets[begin] ?? 0)
      folded.push(text.slice(begin, index))
      begin = -1
    }
  }
  return { starts: Uint32Array.from(starts), folded }
}

/** Evenly spread words are enough to tell the language of a long text. */
const sample = (words: readonly string[]): readonly string[] => {
  const step = Math.ceil(words.length / LANGUAGE_SAMPLE)
  if (step <= 1) return words
  return Array.from({ length: Math.floor(words.length / step) }, (_, index) => words[index * step] ?? '')
}

const splitParagraphs = (text: string): readonly Span[] => {
  const spans: Span[] = []
  let start = 0
  for (const blank of text.matchAll(/\n[^\S\n]*\n/g)) {
    if (blank.index > start) spans.push({ start, end: blank.index })
    start = blank.index + blank[0].length
  }
  return start < text.length ? [...spans, { start, end: text.length }] : spans
}

export const readDocument = (document: DocumentText): Reading => {
  const { text, blocks, pages } = document
  const folded = lazy(() => fold(text))
  const words = lazy(() => findWords(folded()))
  const language = lazy(() => detectLanguage(sample(words().folded)))
  const pageStarts = lazy(() => pages.map(({ start }) => start))
  const blockStarts = lazy(() => blocks.map(({ start }) => start))
  const wordRange = ({ start, end }: Span): readonly [number, number] => [
    lowerBound(words().starts, start),
    lowerBound(words().starts, end),
  ]
  const wordCount = (span: Span) => {
    const [from, to] = wordRange(span)
    return to - from
  }
  return {
    document,
    folded,
    words,
    language,
    outline: lazy(() => outline(document)),
    dates: lazy(() => findDates(text, language())),
    money: lazy(() => findMoney(text)),
    durations: lazy(() => findDurations(text)),
    identifiers: lazy(() => findIdentifiers(text)),
    prose: lazy(() => {
      const prose = blocks.filter(({ kind }) => kind === 'paragraph' || kind === 'list_item')
      return blocks.length === 0 ? [{ start: 0, end: text.length }] : prose
    }),
    paragraphs: lazy(() => splitParagraphs(text)),
    textSha256: lazy(() => createHash('sha256').update(text).digest('hex')),
    wordCount,
    wordsIn: (span) => words().folded.slice(...wordRange(span)),
    pageAt: (offset) => pages[Math.max(0, lowerBound(pageStarts(), offset + 1) - 1)]?.number ?? 1,
    boxAt: (offset) => {
      const block = blocks[lowerBound(blockStarts(), offset + 1) - 1]
      return block !== undefined && offset < block.end ? block.box : undefined
    },
  }
}
