import { expect, it } from 'vitest'
import { stringify } from 'yaml'
import { assess } from '../assess.ts'
import type { DocumentText } from '../document-text.ts'
import { compilePacks, loadPacks } from '../pack.ts'
import { sampleDocument } from '../sample-text.ts'
import { KINDS } from './catalogue.ts'
import { similarity } from './required-section.ts'

const packOf = (rule: Readonly<Record<string, unknown>>, fields: Readonly<Record<string, unknown>> = {}) => {
  const both = [
    { name: 'a', text: 'a', expect: [{ severity: 'low' }] },
    { name: 'b', text: 'b', expect: [] },
  ]
  const words = { category: 'test', title: 'T', message: 'M', remediation: 'R', tests: both }
  const head = { apiVersion: 'docmesh.dev/rules/v1', id: 'my.pack', version: '1.0.0', title: 'T', fields }
  const yaml = stringify({ ...head, rules: [{ id: 'TST-001', severity: 'low', ...words, ...rule }] })
  const { packs, problems } = compilePacks([{ name: 'my.pack', yaml }])
  const pack = packs.get('my.pack')
  if (pack === undefined) throw new Error(JSON.stringify(problems))
  return pack
}
const run = (
  rule: Readonly<Record<string, unknown>>,
  document: string | DocumentText,
  { fields = {}, now = (): number => 0 } = {},
) => {
  const read = typeof document === 'string' ? sampleDocument(document) : document
  return assess([packOf(rule, fields)], read, { locale: 'en', today: '2026-08-01', now })
}
const quotes = async (...args: Parameters<typeof run>) =>
  (await run(...args)).findings.flatMap(({ evidence }) => evidence.map(({ quote }) => quote))

it('every kind is used by a shipped pack', async () => {
  const packs = await loadPacks(new URL('../../../packs', import.meta.url).pathname)
  const used = new Set([...packs.values()].flatMap(({ rules }) => rules.map(({ kind }) => kind)))
  expect(KINDS.map(({ name }) => name).filter((name) => !used.has(name))).toEqual([])
})

it('regex matches a catastrophic pattern on 100,000 characters in linear time', async () => {
  const time = async (length: number) => {
    const document = sampleDocument(`${'a'.repeat(length)}b`)
    const started = performance.now()
    const { coverage } = await run({ kind: 'regex', regex: { pattern: '^(a+)+$' } }, document)
    expect(coverage.rulesRun).toEqual(['TST-001'])
    return performance.now() - started
  }
  await time(1_000)
  expect(await time(100_000)).toBeLessThan(2_000)
})

it('regex over its time is not assessed and says so', async () => {
  let clock = 0
  const now = () => {
    clock += 30
    return clock
  }
  const rule = { kind: 'regex', regex: { pattern: 'x', budgetMs: 50 } }
  const { coverage, verdict } = await run(rule, 'x y x y x y', { now })
  expect(verdict).toBe('incomplete')
  expect(coverage.rulesSkipped).toEqual([
    { ruleId: 'TST-001', reason: 'The rule went over its limit of 50 ms or 2000 matches on this document.' },
  ])
})

it('regex with too many matches is not assessed', async () => {
  const { coverage } = await run({ kind: 'regex', regex: { pattern: 'x' } }, 'x '.repeat(2_001))
  expect(coverage.rulesSkipped).toHaveLength(1)
})

it('regex on folded text gives evidence of the original', async () => {
  const rule = { kind: 'regex', regex: { pattern: 'clausula [a-z]+', on: 'folded' } }
  expect(await quotes(rule, 'Um.\n\nVer a CLÁUSULA\nDécima aqui.')).toEqual(['CLÁUSULA\nDécima'])
})

it('regex does not match across a blank line', async () => {
  expect(await quotes({ kind: 'regex', regex: { pattern: 'a\\s+b' } }, 'a\n\nb')).toEqual([])
})

it('forbidden-term takes whole words, and endings only after a star', async () => {
  const text = 'O contratante e a contratada. Distrato.'
  expect(await quotes({ kind: 'forbidden-term', forbidden: { anyOf: ['contrata', 'trato'] } }, text)).toEqual(
    [],
  )
  expect(await quotes({ kind: 'forbidden-term', forbidden: { anyOf: ['contrata*'] } }, text)).toEqual([
    'contrata',
    'contrata',
  ])
})

it('forbidden-term finds a phrase across line breaks, case and accents', async () => {
  const rule = { kind: 'forbidden-term', forbidden: { anyOf: ['sem aviso previo'] } }
  expect(await quotes(rule, 'Rescisão SEM AVISO\nPRÉVIO.')).toEqual(['SEM AVISO\nPRÉVIO'])
})

it('required-section takes a misspelt heading when it is similar enough', async () => {
  const rule = { kind: 'required-section', section: { anyOf: ['penalidades'] } }
  expect((await run(rule, '## Das penalidadis\n\nMulta.')).findings).toEqual([])
  expect((await run(rule, '## Das finalidades\n\nMulta.')).findings).toHaveLength(1)
  expect(similarity('objeto', 'objetto')).toBeCloseTo(6 / 7)
})

it('required-section absent has no evidence and a fingerprint of its own', async () => {
  const sections = ['foro', 'multa'].map((name) => ({ kind: 'required-section', section: { anyOf: [name] } }))
  const found = await Promise.all(
    sections.map(async (rule) => (await run(rule, '## Objeto\n\nX.')).findings[0]),
  )
  expect(found.map((finding) => finding?.evidence)).toEqual([[], []])
  expect(found[0]?.fingerprint).not.toBe(found[1]?.fingerprint)
})

it('cross-field does not apply without both values', async () => {
  const fields = { from: { type: 'date', near: ['from'] }, until: { type: 'date', near: ['until'] } }
  const rule = { kind: 'cross-field', compare: { left: 'from', op: '<', right: 'until' } }
  const { coverage } = await run(rule, 'from 2026-01-01', { fields })
  expect(coverage.rulesNotApplicable).toHaveLength(1)
})

it('a field takes only values close after its terms', async () => {
  const fields = { price: { type: 'money', near: ['price'], within: 20 } }
  const rule = { kind: 'field-present', field: { anyOf: ['price'] } }
  expect((await run(rule, 'The price is R$ 10,00.', { fields })).findings).toEqual([])
  expect((await run(rule, 'R$ 10,00 is the price of it.', { fields })).findings).toHaveLength(1)
  expect((await run(rule, `The price ${'x '.repeat(20)} R$ 10,00.`, { fields })).findings).toHaveLength(1)
})

it('readability of a text in another language is not assessed', async () => {
  const text = 'El plazo de entrega es de diez días y no será prorrogado por la parte que lo pidió. '.repeat(
    10,
  )
  const { verdict, coverage } = await run({ kind: 'readability', readability: { minEase: 20 } }, text)
  expect(verdict).toBe('incomplete')
  expect(coverage.language).toBe('es')
})

it('money-total reports figures in the way of their currency', async () => {
  const rule = {
    kind: 'money-total',
    money: { check: 'instalments' },
    message: '{total} x {sum} = {difference}',
  }
  const { findings } = await run(rule, 'Valor total de R$ 1.300,00 em 12 parcelas de R$ 100,00.')
  expect(findings[0]?.message).toBe('R$ 1.300,00 x R$ 1.200,00 = R$ 100,00')
})

it('money-total leaves instalments without a total alone', async () => {
  const rule = { kind: 'money-total', money: { check: 'instalments' } }
  expect((await run(rule, 'Pagará 12 parcelas de R$ 100,00.')).findings).toEqual([])
  expect((await run(rule, 'Valor total de R$ 1,00.\n\nOutro: 12 parcelas de R$ 100,00.')).findings).toEqual(
    [],
  )
})
