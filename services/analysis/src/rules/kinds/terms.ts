import { z } from 'zod'
import { anyOf } from '../terms.ts'
import { assessed, defineKind, term, termList } from './kind.ts'

/** Every group must have one of its terms in the text. */
export const requiredTerm = defineKind({
  name: 'required-term',
  shape: {
    required: z.strictObject({ groups: z.array(termList).min(1, 'write at least one group').max(20) }),
  },
  values: ['term'],
  prepare: ({ required: { groups } }) => ({
    terms: groups.flat(),
    run: ({ hits }) =>
      assessed(
        groups
          .filter((group) => group.every((word) => hits.of(word).length === 0))
          .map((group) => ({
            spans: [],
            key: group.join('|'),
            confidence: 0.85,
            values: { term: group.slice(0, 3).join(', ').replaceAll('*', '') },
          })),
      ),
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
