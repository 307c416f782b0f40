import { z } from 'zod'
import { SIGNAL_KINDS } from './document-text.ts'
import { fieldSchema } from './fields.ts'
import { KINDS } from './kinds/catalogue.ts'

export const SEVERITIES = ['critical', 'high', 'medium', 'low'] as const
export type Severity = (typeof SEVERITIES)[number]

const severity = z.enum(SEVERITIES, `write one of ${SEVERITIES.join(', ')}`)
const packId = z
  .string('write an id such as core.contract')
  .regex(/^[a-z0-9]+(\.[a-z0-9]+)+$/, 'write lower-case words joined by dots, such as core.contract')
const day = z.iso.date('write a date such as 2026-07-01')
const sentence = z.string().trim().min(1, 'write a sentence').max(1_000)
const localised = z.union(
  [sentence, z.strictObject({ 'pt-BR': sentence.optional(), en: sentence.optional() })],
  'write a sentence, or one each under pt-BR and en',
)
const locale = z.enum(['pt-BR', 'en'], 'write pt-BR or en')

const test = z.strictObject({
  name: z.string().min(1),
  /** Markdown: headings, lists, tables, paragraphs; a form feed starts a page. */
  text: z.string(),
  mediaType: z.string().default('text/markdown'),
  today: day.default('2026-08-01'),
  properties: z.record(z.string(), z.string()).default({}),
  signals: z
    .array(
      z.strictObject({
        kind: z.enum(SIGNAL_KINDS, `write one of ${SIGNAL_KINDS.join(', ')}`),
        detail: z.string(),
        page: z.int().optional(),
        start: z.int().optional(),
        end: z.int().optional(),
      }),
    )
    .default([]),
  expect: z.array(z.strictObject({ severity })),
})

const ruleBase = z.strictObject({
  id: z
    .string('write an id such as ED-001')
    .regex(/^[A-Z][A-Z0-9]{0,15}-\d{1,4}$/, 'write capital letters, a dash and a number, such as ED-001'),
  severity,
  category: z.string().regex(/^[a-z][a-z-]{1,31}$/, 'write one lower-case word, such as structure'),
  title: localised,
  message: localised,
  remediation: localised,
  references: z
    .array(
      z.strictObject({
        law: z.string().optional(),
        art: z.string().optional(),
        url: z.httpUrl('write an http or https address').optional(),
      }),
    )
    .max(20)
    .default([]),
  score: z.strictObject({ maxCount: z.int().min(1).max(100) }).default({ maxCount: 3 }),
  tests: z
    .array(test, 'write at least one test that finds something and one that finds nothing')
    .refine(
      (tests) =>
        tests.some(({ expect }) => expect.length > 0) && tests.some(({ expect }) => expect.length === 0),
      'write at least one test that finds something and one that finds nothing',
    ),
})

const kindNames = KINDS.map(({ name }) => name)
const ruleOfKind = KINDS.map((kind) => ruleBase.extend({ kind: z.literal(kind.name), ...kind.shape }))
const rule = z.discriminatedUnion('kind', ruleOfKind as [(typeof ruleOfKind)[number]], {
  error: () => `write one of the kinds ${kindNames.join(', ')}`,
})

export const packSchema = z.strictObject({
  apiVersion: z.literal('docmesh.dev/rules/v1', 'write docmesh.dev/rules/v1'),
  id: packId,
  version: z
    .string()
    .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/, 'write a version such as 1.2.0, in quotes if needed'),
  title: localised,
  extends: z.array(packId).max(10).default([]),
  locale: locale.default('pt-BR'),
  appliesTo: z
    .strictObject({
      mime: z.array(z.string()).min(1).optional(),
      language: z
        .array(z.enum(['pt', 'en', 'es', 'fr'], 'write pt, en, es or fr'))
        .min(1)
        .optional(),
    })
    .default({}),
  validity: z.strictObject({ from: day.optional(), to: day.optional() }).default({}),
  vars: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
  fields: z.record(z.string().regex(/^[a-z][A-Za-z0-9]{0,63}$/), fieldSchema).default({}),
  rules: z.array(rule).min(1, 'write at least one rule').max(1_000),
})

export type PackSpec = z.output<typeof packSchema>
export type RuleSpec = z.output<typeof ruleBase> & { readonly kind: string }
export type RuleTest = z.output<typeof test>
export type LocalisedSpec = z.output<typeof localised>
