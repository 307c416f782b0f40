import { z } from 'zod'
import type { Field, FieldValue, RuleContext } from './kinds/kind.ts'
import { termList } from './kinds/kind.ts'
import { compilePattern, findPattern, patternText } from './kinds/regex.ts'
import { lowerBound } from './reading.ts'
import { anyOf } from './terms.ts'
import { IDENTIFIER_TYPES } from './values/identifiers.ts'

const PATTERN_BUDGET_MS = 250

const shared = {
  /** The value must come after one of these terms, at most `within` characters later. */
  near: termList.optional(),
  within: z.int().min(1).max(1_000).default(80),
  select: z.enum(['first', 'last', 'all'], 'write first, last or all').default('all'),
}

/** A typed value that a pack reads from the text once, for its rules to ask for or compare. */
export const fieldSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('money'), ...shared }),
  z.strictObject({ type: z.literal('date'), ...shared }),
  z.strictObject({
    type: z.literal('identifier'),
    of: z.array(z.enum(IDENTIFIER_TYPES, `write one of ${IDENTIFIER_TYPES.join(', ')}`)).min(1),
    ...shared,
  }),
  z.strictObject({ type: z.literal('pattern'), pattern: patternText, ...shared }),
])

export type FieldSpec = z.output<typeof fieldSchema>

const reader = (spec: FieldSpec): ((context: RuleContext) => readonly FieldValue[] | undefined) => {
  switch (spec.type) {
    case 'money':
      return ({ reading }) => reading.money().map(({ start, end, cents }) => ({ start, end, value: cents }))
    case 'date':
      return ({ reading }) =>
        reading
          .dates()
          .flatMap(({ start, end, iso }) => (iso === undefined ? [] : [{ start, end, value: iso }]))
    case 'identifier':
      return ({ reading }) =>
        reading
          .identifiers()
          .filter(({ type }) => spec.of.includes(type))
          .map(({ start, end }) => ({ start, end, value: reading.document.text.slice(start, end) }))
    case 'pattern': {
      const search = {
        pattern: compilePattern(spec.pattern),
        on: 'text',
        budgetMs: PATTERN_BUDGET_MS,
      } as const
      return (context) => {
        const { text } = context.reading.document
        return findPattern(search, context)?.map(({ start, end }) => ({
          start,
          end,
          value: text.slice(start, end),
        }))
      }
    }
  }
}

export const compileField = (spec: FieldSpec): Field => {
  const all = reader(spec)
  const { near, within, select } = spec
  return {
    type: spec.type,
    terms: near ?? [],
    read: (context) => {
      const anchors =
        near &&
        anyOf(context.hits, near)
          .map(({ end }) => end)
          .sort((a, b) => a - b)
      const values = all(context)?.filter(({ start }) => {
        const nearest = anchors?.[lowerBound(anchors, start + 1) - 1]
        return anchors === undefined || (nearest !== undefined && start - nearest <= within)
      })
      if (values === undefined || select === 'all') return values
      const chosen = select === 'first' ? values[0] : values.at(-1)
      return chosen === undefined ? [] : [chosen]
    },
  }
}
