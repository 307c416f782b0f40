import { z } from 'zod'
import type { Span } from '../document-text.ts'
import type { Reading } from '../reading.ts'
import type { TermHits } from '../terms.ts'

export type Locale = 'pt-BR' | 'en'
export type Localised = Readonly<Record<Locale, string>>

/** What a rule may look at while it runs. */
export interface RuleContext {
  readonly reading: Reading
  readonly hits: TermHits
  readonly locale: Locale
  /** ISO date. */
  readonly today: string
  /** Milliseconds of a monotonic clock; only budgets read it. */
  readonly now: () => number
}

/** One place that does not conform. Without spans the thing is absent and `key` names it in the fingerprint. */
export interface Hit {
  readonly spans: readonly (Span & { readonly page?: number })[]
  readonly confidence: number
  readonly values?: Readonly<Record<string, string>>
  readonly key?: string
}

export type Outcome =
  | { readonly state: 'assessed'; readonly hits: readonly Hit[] }
  | { readonly state: 'skipped' | 'not-applicable'; readonly reason: Localised }

export const assessed = (hits: readonly Hit[]): Outcome => ({ state: 'assessed', hits })
export const skipped = (reason: Localised): Outcome => ({ state: 'skipped', reason })
export const notApplicable = (reason: Localised): Outcome => ({ state: 'not-applicable', reason })

export interface FieldValue extends Span {
  /** Hundredths for money, ISO date for dates, the text otherwise. */
  readonly value: number | string
}

export interface Field {
  readonly type: 'money' | 'date' | 'identifier' | 'pattern'
  readonly terms: readonly string[]
  /** Undefined when its pattern went over budget. */
  readonly read: (context: RuleContext) => readonly FieldValue[] | undefined
}

export type Fields = ReadonlyMap<string, Field>

/** A kind of rule: the YAML keys it adds to a rule, the literal terms it wants found, and how it assesses. */
export interface Kind {
  readonly name: string
  readonly shape: z.ZodRawShape
  /** Names that `{…}` in a message may use. */
  readonly values: readonly string[]
  /** Fields of the pack that a rule names. */
  readonly fieldsOf: (rule: object) => readonly string[]
  readonly bind: (rule: object, fields: Fields) => BoundRule
}

export interface BoundRule {
  readonly terms: readonly string[]
  readonly run: (context: RuleContext) => Outcome
}

/** `prepare` runs once per rule of a pack; the function it returns runs once per document. */
export const defineKind = <S extends z.ZodRawShape>(kind: {
  readonly name: string
  readonly shape: S
  readonly values?: readonly string[]
  readonly fieldsOf?: (rule: z.output<z.ZodObject<S>>) => readonly string[]
  readonly prepare: (rule: z.output<z.ZodObject<S>>, fields: Fields) => BoundRule
}): Kind => {
  const schema = z.object(kind.shape)
  return {
    name: kind.name,
    shape: kind.shape,
    values: kind.values ?? [],
    fieldsOf: (rule) => kind.fieldsOf?.(schema.parse(rule)) ?? [],
    bind: (rule, fields) => kind.prepare(schema.parse(rule), fields),
  }
}

export const term = z
  .string('write a word or phrase')
  .trim()
  .min(2, 'write at least 2 characters')
  .max(80, 'write at most 80 characters')
export const termList = z
  .array(term, 'write a list of words or phrases')
  .min(1, 'write at least one')
  .max(200)

export const say = (locale: Locale, pt: string, en: string): string => (locale === 'pt-BR' ? pt : en)
