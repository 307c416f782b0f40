import { z } from 'zod'
import {
  assessed,
  defineKind,
  type Fields,
  type FieldValue,
  notApplicable,
  type RuleContext,
  skipped,
} from './kind.ts'

const fieldName = z.string('write the name of a field')
const TODAY = 'today'

const NOT_READ = skipped({
  'pt-BR': 'Um campo que a regra usa passou do limite de tempo neste documento.',
  en: 'A field that the rule uses went over its time limit on this document.',
})

const valuesOf = (name: string, fields: Fields, context: RuleContext): readonly FieldValue[] | undefined =>
  fields.get(name)?.read(context)

const termsOf = (names: readonly string[], fields: Fields): string[] =>
  names.flatMap((name) => fields.get(name)?.terms ?? [])

/** At least `min` different values among the named fields. */
export const fieldPresent = defineKind({
  name: 'field-present',
  shape: {
    field: z.strictObject({
      anyOf: z.array(fieldName).min(1).max(20),
      min: z.int().min(1).max(100).default(1),
    }),
  },
  values: ['count', 'min'],
  fieldsOf: ({ field }) => field.anyOf,
  prepare: ({ field: { anyOf, min } }, fields) => ({
    terms: termsOf(anyOf, fields),
    run: (context) => {
      const read = anyOf.map((name) => valuesOf(name, fields, context))
      const values = read.filter((field) => field !== undefined).flat()
      const count = new Set(values.map(({ value }) => value)).size
      if (count >= min) return assessed([])
      if (read.includes(undefined)) return NOT_READ
      const spans = values.slice(0, 1)
      return assessed([
        {
          spans,
          key: anyOf.join('|'),
          confidence: 0.85,
          values: { count: String(count), min: String(min) },
        },
      ])
    },
  }),
})

const HOLDS = {
  '<': (left: number | string, right: number | string) => left < right,
  '<=': (left: number | string, right: number | string) => left <= right,
  '=': (left: number | string, right: number | string) => left === right,
}

/** `left op right` must hold for the first value of each; a date may be compared with `today`. */
export const crossField = defineKind({
  name: 'cross-field',
  shape: {
    compare: z.strictObject({
      left: fieldName,
      op: z.enum(['<', '<=', '='], 'write <, <= or ='),
      right: fieldName,
    }),
  },
  values: ['left', 'right'],
  fieldsOf: ({ compare }) => [compare.left, compare.right].filter((name) => name !== TODAY),
  prepare: ({ compare: { left, op, right } }, fields) => ({
    terms: termsOf([left, right], fields),
    run: (context) => {
      const operand = (name: string) =>
        name === TODAY ? { value: context.today } : valuesOf(name, fields, context)?.[0]
      const a = operand(left)
      const b = operand(right)
      if (a === undefined || b === undefined || typeof a.value !== typeof b.value) {
        return notApplicable({
          'pt-BR': 'O documento não traz os dois valores que a regra compara.',
          en: 'The document does not have both values that the rule compares.',
        })
      }
      if (HOLDS[op](a.value, b.value)) return assessed([])
      const { text } = context.reading.document
      const spans = [a, b].filter((value): value is FieldValue => 'start' in value)
      const [shownA, shownB] = [a, b].map((value) =>
        'start' in value ? text.slice(value.start, value.end) : String(value.value),
      )
      return assessed([{ spans, confidence: 0.85, values: { left: shownA ?? '', right: shownB ?? '' } }])
    },
  }),
})
