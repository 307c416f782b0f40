import { z } from 'zod'
import type { Span } from '../document-text.ts'
import { anyOf } from '../terms.ts'
import { assessed, defineKind, type RuleContext } from './kind.ts'

const WITNESSES = ['testemunhas', 'testemunha', 'witnesses', 'witness']
const SIGNED = [
  ...['assinado eletronicamente', 'assinado digitalmente', 'assinatura eletronica', 'assinatura digital'],
  ...['digitally signed', 'electronically signed', 'signed by', 'assinado por'],
]
const LINE = /_{6,}/g
const NAMED = /(?<![\p{L}])(?:nome|name)\s?:/giu

const countIn = (pattern: RegExp, text: string): number => text.match(pattern)?.length ?? 0

/** Lines to sign on, electronic signatures, and named people, before or after the witness heading. */
const places = (context: RuleContext): { parties: number; witnesses: number; heading?: Span } => {
  const { text, signals } = context.reading.document
  const heading = anyOf(context.hits, WITNESSES).at(-1)
  const cut = heading?.start ?? text.length
  const before = text.slice(0, cut)
  const after = text.slice(cut)
  const electronic = anyOf(context.hits, SIGNED).length
  const parties = Math.max(
    countIn(LINE, before),
    electronic,
    signals.filter(({ kind }) => kind === 'signature').length,
  )
  const witnesses = heading === undefined ? 0 : Math.max(countIn(LINE, after), countIn(NAMED, after))
  return { parties, witnesses, ...(heading !== undefined && { heading }) }
}

/** Enough places to sign, for the parties or for witnesses. */
export const signature = defineKind({
  name: 'signature',
  shape: {
    signature: z.strictObject({
      of: z.enum(['parties', 'witnesses'], 'write parties or witnesses'),
      min: z.int().min(1).max(20),
    }),
  },
  values: ['count', 'min'],
  prepare: ({ signature: { of, min } }) => ({
    terms: [...WITNESSES, ...SIGNED],
    run: (context) => {
      const found = places(context)
      const count = found[of]
      if (count >= min) return assessed([])
      const spans = of === 'witnesses' && found.heading !== undefined ? [found.heading] : []
      return assessed([
        { spans, key: of, confidence: 0.75, values: { count: String(count), min: String(min) } },
      ])
    },
  }),
})
