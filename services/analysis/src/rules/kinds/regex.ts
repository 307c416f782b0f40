import { type RE2JS as Pattern, RE2JS } from 're2js'
import { z } from 'zod'
import type { Span } from '../document-text.ts'
import { unfold } from '../fold.ts'
import { lowerBound, type Reading } from '../reading.ts'
import { assessed, defineKind, type Localised, type RuleContext, skipped } from './kind.ts'

const MAX_MATCHES = 2_000
const MAX_PROGRAM = 2_000
/** Characters × steps of one paragraph that cannot be interrupted: about two seconds at the very worst. */
const MAX_WORK = 2e8

export const compilePattern = (pattern: string): Pattern => RE2JS.compile(pattern, RE2JS.MULTILINE)

const problemOf = (pattern: string): string | undefined => {
  try {
    const size = compilePattern(pattern).matcher('').programSize()
    return size > MAX_PROGRAM
      ? `write a shorter pattern (${size} of at most ${MAX_PROGRAM} steps)`
      : undefined
  } catch (cause) {
    return `write an RE2 pattern (no back-references or look-around): ${cause instanceof Error ? cause.message : cause}`
  }
}

/** A user's pattern: checked when the pack is read, matched in linear time. */
export const patternText = z
  .string('write a pattern')
  .min(1)
  .max(1_000)
  .check((checked) => {
    const message = problemOf(checked.value)
    if (message !== undefined) checked.issues.push({ code: 'custom', message, input: checked.value })
  })

export interface PatternSearch {
  readonly pattern: Pattern
  readonly on: 'text' | 'folded'
  readonly budgetMs: number
}

/** The paragraph as the pattern reads it, and the way back to the original text. */
const pieceOf = (
  { start, end }: Span,
  on: PatternSearch['on'],
  reading: Reading,
): { readonly text: string; readonly original: (from: number, to: number) => Span } => {
  if (on === 'text') {
    const text = reading.document.text.slice(start, end)
    return { text, original: (from, to) => ({ start: start + from, end: start + to }) }
  }
  const folded = reading.folded()
  const first = lowerBound(folded.offsets, start)
  const text = folded.text.slice(first, lowerBound(folded.offsets, end))
  return { text, original: (from, to) => unfold(folded, first + from, first + to) }
}

/**
 * All matches, none across a blank line; undefined when over budget, for what was found until then would be a
 * partial truth. The automaton without captures goes first: it is many times faster and most paragraphs have nothing.
 */
export const findPattern = (
  { pattern, on, budgetMs }: PatternSearch,
  { reading, now }: Pick<RuleContext, 'reading' | 'now'>,
): readonly Span[] | undefined => {
  const until = now() + budgetMs
  const whole = on === 'folded' ? reading.folded().text : reading.document.text
  if (!pattern.test(whole)) return now() > until ? undefined : []
  const found: Span[] = []
  for (const paragraph of reading.paragraphs()) {
    const { text, original } = pieceOf(paragraph, on, reading)
    if (!pattern.test(text)) continue
    const matcher = pattern.matcher(text)
    if (text.length * matcher.programSize() > MAX_WORK) return undefined
    while (matcher.find()) {
      if (matcher.end() > matcher.start()) found.push(original(matcher.start(), matcher.end()))
      if (found.length > MAX_MATCHES || now() > until) return undefined
    }
  }
  return now() > until ? undefined : found
}

const overBudget = (budgetMs: number): Localised => ({
  'pt-BR': `A regra passou do limite de ${budgetMs} ms ou de ${MAX_MATCHES} ocorrências neste documento.`,
  en: `The rule went over its limit of ${budgetMs} ms or ${MAX_MATCHES} matches on this document.`,
})

/** Text that a pattern may not match. `on: folded` reads it in lower case, without accents, blanks as one. */
export const regex = defineKind({
  name: 'regex',
  shape: {
    regex: z.strictObject({
      pattern: patternText,
      on: z.enum(['text', 'folded'], 'write text or folded').default('text'),
      budgetMs: z.int().min(1).max(5_000).default(500),
    }),
  },
  values: ['found'],
  prepare: ({ regex: { pattern, on, budgetMs } }) => {
    const search = { pattern: compilePattern(pattern), on, budgetMs }
    return {
      terms: [],
      run: (context) => {
        const spans = findPattern(search, context)
        if (spans === undefined) return skipped(overBudget(budgetMs))
        const { text } = context.reading.document
        return assessed(
          spans.map((span) => ({
            spans: [span],
            confidence: 0.9,
            values: { found: text.slice(span.start, span.end) },
          })),
        )
      },
    }
  },
})
