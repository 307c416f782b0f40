import { z } from 'zod'
import type { Span } from '../document-text.ts'
import { lowerBound } from '../reading.ts'
import { anyOf } from '../terms.ts'
import { type Duration, sameLength } from '../values/durations.ts'
import { assessed, defineKind, type Hit, type RuleContext, termList } from './kind.ts'

const REACH = 120
const SENTENCE_END = /[.;!?]\s|\n\s*\n/

const differsInWords = ({ reading }: RuleContext): readonly Hit[] =>
  reading
    .durations()
    .filter(({ amount, inWords }) => inWords !== undefined && inWords !== amount)
    .map(({ start, end }) => {
      const found = reading.document.text.slice(start, end)
      return { spans: [{ start, end }], confidence: 0.95, values: { found, other: found } }
    })

/** The duration that the subject is part of ("12 meses de vigência"), or the first one after it in its sentence. */
const durationOf = (
  subject: Span,
  starts: readonly number[],
  { reading }: RuleContext,
): Duration | undefined => {
  const next = lowerBound(starts, subject.end)
  const around = reading.durations()[next - 1]
  if (around !== undefined && around.end > subject.start) return around
  const found = reading.durations()[next]
  if (found === undefined || found.start - subject.end > REACH) return undefined
  const between = reading.document.text.slice(subject.end, found.start)
  return SENTENCE_END.test(between) ? undefined : found
}

const contradictions = (subjects: readonly (readonly string[])[], context: RuleContext): readonly Hit[] => {
  const starts = context.reading.durations().map(({ start }) => start)
  return subjects.flatMap((terms) => {
    const durations = anyOf(context.hits, terms).flatMap(
      (subject) => durationOf(subject, starts, context) ?? [],
    )
    const first = durations[0]
    const other = durations.find((duration) => first !== undefined && !sameLength(first, duration))
    if (first === undefined || other === undefined) return []
    const { text } = context.reading.document
    const [found, against] = [first, other].map(({ start, end }) => text.slice(start, end))
    return [{ spans: [first, other], confidence: 0.6, values: { found: found ?? '', other: against ?? '' } }]
  })
}

/** `words`: "30 (quarenta) dias". `contradiction`: one subject, two lengths. */
export const deadline = defineKind({
  name: 'deadline',
  shape: {
    deadline: z.discriminatedUnion('check', [
      z.strictObject({ check: z.literal('words') }),
      z.strictObject({
        check: z.literal('contradiction'),
        /** One list of terms per subject, e.g. the ways to say "payment term". */
        subjects: z.array(termList).min(1).max(20),
      }),
    ]),
  },
  values: ['found', 'other'],
  prepare: ({ deadline: wanted }) => ({
    terms: wanted.check === 'words' ? [] : wanted.subjects.flat(),
    run: (context) =>
      assessed(wanted.check === 'words' ? differsInWords(context) : contradictions(wanted.subjects, context)),
  }),
})
