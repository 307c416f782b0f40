import { z } from 'zod'
import { SIGNAL_KINDS } from '../document-text.ts'
import { IDENTIFIER_TYPES, type Identifier, type IdentifierType } from '../values/identifiers.ts'
import { assessed, defineKind, type Hit, type Localised, type RuleContext } from './kind.ts'

const types = z
  .array(z.enum(IDENTIFIER_TYPES, `write one of ${IDENTIFIER_TYPES.join(', ')}`))
  .min(1, 'write at least one')

const NAMES: Readonly<Record<IdentifierType, Localised>> = {
  cpf: { 'pt-BR': 'CPF', en: 'CPF' },
  cnpj: { 'pt-BR': 'CNPJ', en: 'CNPJ' },
  iban: { 'pt-BR': 'IBAN', en: 'IBAN' },
  card: { 'pt-BR': 'cartão de pagamento', en: 'payment card' },
  email: { 'pt-BR': 'e-mail', en: 'email' },
  phone: { 'pt-BR': 'telefone', en: 'phone' },
}

const identifierHits = (
  { reading, locale }: RuleContext,
  wanted: (identifier: Identifier) => boolean,
): readonly Hit[] =>
  reading
    .identifiers()
    .filter(wanted)
    .map(({ start, end, type }) => ({
      spans: [{ start, end }],
      confidence: type === 'phone' ? 0.7 : 0.95,
      values: { type: NAMES[type][locale] },
    }))

/** Check digits must agree. */
export const identifier = defineKind({
  name: 'identifier',
  shape: { identifier: z.strictObject({ types }) },
  values: ['type'],
  prepare: ({ identifier: { types } }) => ({
    terms: [],
    run: (context) => assessed(identifierHits(context, ({ type, valid }) => types.includes(type) && !valid)),
  }),
})

/** Personal data in the open. */
export const pii = defineKind({
  name: 'pii',
  shape: { pii: z.strictObject({ types }) },
  values: ['type'],
  prepare: ({ pii: { types } }) => ({
    terms: [],
    run: (context) => assessed(identifierHits(context, ({ type, valid }) => types.includes(type) && valid)),
  }),
})

/** Dates that no calendar has. */
export const date = defineKind({
  name: 'date',
  shape: { date: z.strictObject({ check: z.literal('exists', 'write exists') }) },
  values: ['found'],
  prepare: () => ({
    terms: [],
    run: ({ reading }) =>
      assessed(
        reading
          .dates()
          .filter(({ iso }) => iso === undefined)
          .map(({ start, end }) => ({
            spans: [{ start, end }],
            confidence: 0.98,
            values: { found: reading.document.text.slice(start, end) },
          })),
      ),
  }),
})

/** Hidden or active content that the extractor reported. */
export const hiddenContent = defineKind({
  name: 'hidden-content',
  shape: {
    hidden: z.strictObject({
      signals: z
        .array(z.enum(SIGNAL_KINDS, `write one of ${SIGNAL_KINDS.join(', ')}`))
        .min(1, 'write at least one'),
    }),
  },
  values: ['detail'],
  prepare: ({ hidden: { signals } }) => ({
    terms: [],
    run: ({ reading }) => {
      const wanted: readonly string[] = signals
      return assessed(
        reading.document.signals
          .filter(({ kind }) => wanted.includes(kind))
          .map(({ kind, detail, page, start, end }) => ({
            spans:
              start !== undefined && end !== undefined
                ? [{ start, end, ...(page !== undefined && { page }) }]
                : [],
            key: `${kind}:${detail}`,
            confidence: 1,
            values: { detail },
          })),
      )
    },
  }),
})
