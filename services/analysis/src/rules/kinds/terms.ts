import { z } from 'zod'
import { anyOf } from '../terms.ts'
import { assessed, defineKind, notApplicable, term, termList } from './kind.ts'

const NOT_SPOKEN_OF = notApplicable({
  'pt-BR': 'O documento não trata do assunto da regra.',
  en: 'The document does not speak of what the rule is about.',
})

/** Every group must have one of its terms in the text; with `when`, only in a text that has one of those. */
export const requiredTerm = defineKind({
  name: 'required-term',
  shape: {
    required: z.strictObject({
      groups: z.array(termList).min(1, 'write at least one group').max(20),
      when: termList.optional(),
    }),
  },
  values: ['term'],
  prepare: ({ required: { groups, when } }) => ({
    terms: [...groups.flat(), ...(when ?? [])],
    run: ({ hits }) => {
      const reasons = when && anyOf(hits, when)
      if (reasons?.length === 0) return NOT_SPOKEN_OF
      return assessed(
        groups
          .filter((group) => group.every((word) => hits.of(word).length === 0))
          .map((group) => ({
            spans: reasons?.slice(0, 1) ?? [],
            key: group.join('|'),
            confidence: 0.85,
            values: { term: group.slice(0, 3).join(', ').replaceAll('*', '') },
          })),
      )
    },
  }),
})

/** No term may be in the text; `exact` terms also compare case and accents. */
export const forbiddenTerm = defineKind({
  name: 'forbidden-term',
  shape: {
    forbidden: z.strictObject({ anyOf: termList, exact: z.array(term).max(200).default([]) }),
  },
  values: ['found'],
  prepare: ({ forbidden }) => ({
    terms: [...forbidden.anyOf, ...forbidden.exact],
    run: ({ hits, reading }) => {
      const { text } = reading.document
      const exact = forbidden.exact.flatMap((word) =>
        hits.of(word).filter(({ start, end }) => text.slice(start, end) === word),
      )
      return assessed(
        [...anyOf(hits, forbidden.anyOf), ...exact].map((span) => ({
          spans: [span],
          confidence: 0.95,
          values: { found: text.slice(span.start, span.end) },
        })),
      )
    },
  }),
})
