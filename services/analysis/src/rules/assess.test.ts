import { describe, expect, it } from 'vitest'
import { assess } from './assess.ts'
import { compilePacks, loadPacks } from './pack.ts'
import { sampleDocument } from './sample-text.ts'

const packs = await loadPacks(new URL('../../packs', import.meta.url).pathname)
const named = (...ids: string[]) => ids.map((id) => packs.get(id)).filter((pack) => pack !== undefined)
const options = { locale: 'en', today: '2026-08-01' } as const
const core = named('core.document')

describe('findings', () => {
  it('carry place, quote and hash of the text', async () => {
    const document = sampleDocument('# Título\n\nUm.\f\nVence em 31/02/2026.', {
      mediaType: 'application/pdf',
    })
    const { findings } = await assess(core, document, options)
    const [finding] = findings
    expect(findings).toHaveLength(1)
    expect(finding).toMatchObject({
      ruleId: 'DOC-011',
      packId: 'core.document',
      source: 'rule',
      severity: 'medium',
    })
    const [evidence] = finding?.evidence ?? []
    expect(evidence).toMatchObject({ page: 2, quote: '31/02/2026' })
    expect(document.text.slice(evidence?.charStart, evidence?.charEnd)).toBe('31/02/2026')
    expect(evidence?.textSha256).toMatch(/^[0-9a-f]{64}$/)
  })

  it('carry the box of their block', async () => {
    const document = sampleDocument('# T\n\n31/02/2026')
    const box = { x: 1, y: 2, width: 3, height: 4 }
    const blocks = document.blocks.map((block) => ({ ...block, box }))
    const { findings } = await assess(core, { ...document, blocks }, options)
    expect(findings[0]?.evidence[0]?.box).toEqual(box)
  })

  it('with the same quote are one, with the evidence of all', async () => {
    const { findings, ledger } = await assess(
      core,
      sampleDocument('# T\n\n31/02/2026 e 31/02/2026.'),
      options,
    )
    expect(findings.map(({ evidence }) => evidence.length)).toEqual([2])
    expect(ledger).toEqual([{ severity: 'medium', ruleId: 'DOC-011', deduction: 5, count: 1 }])
  })

  it('keep their fingerprint when the text around them changes', async () => {
    const before = await assess(core, sampleDocument('# T\n\nVence em 31/02/2026.'), options)
    const after = await assess(
      core,
      sampleDocument('# Outro\n\nMais texto.\n\nFim em  31/02/2026 mesmo.'),
      options,
    )
    expect(after.findings[0]?.fingerprint).toBe(before.findings[0]?.fingerprint)
  })

  it('speak the language asked for', async () => {
    const document = sampleDocument('# T\n\n31/02/2026')
    const [pt, en] = await Promise.all(
      (['pt-BR', 'en'] as const).map((locale) => assess(core, document, { ...options, locale })),
    )
    expect(pt?.findings[0]?.message).toBe('A data "31/02/2026" não existe no calendário.')
    expect(en?.findings[0]?.message).toBe('The date "31/02/2026" is not in the calendar.')
  })

  it('are ordered by severity, then by place', async () => {
    const text = '# T\n\n31/02/2026, CPF 529.982.247-26, lorem ipsum e 30/02/2026.'
    const { findings } = await assess(core, sampleDocument(text), options)
    expect(findings.map(({ ruleId }) => ruleId)).toEqual(['DOC-013', 'DOC-001', 'DOC-011', 'DOC-011'])
  })
})

describe('score and verdict', () => {
  it('are 100 and pass for a clean document', async () => {
    const { score, verdict, ledger } = await assess(core, sampleDocument('# T\n\nTudo certo.'), options)
    expect({ score, verdict, ledger }).toEqual({ score: 100, verdict: 'pass', ledger: [] })
  })

  it('count a rule up to its cap', async () => {
    const dates = ['30/02/2026', '31/02/2026', '31/04/2026', '31/06/2026', '31/09/2026'].join(', ')
    const { score, ledger, verdict } = await assess(core, sampleDocument(`# T\n\n${dates}`), options)
    expect(ledger).toEqual([{ severity: 'medium', ruleId: 'DOC-011', deduction: 15, count: 5 }])
    expect({ score, verdict }).toEqual({ score: 85, verdict: 'pass' })
  })

  it('fail with a critical finding whatever the score', async () => {
    const text = '# T\n\nR$ 10,00 (vinte reais).'
    const { findings, verdict } = await assess(named('core.contract'), sampleDocument(text), options)
    expect(findings[0]?.severity).toBe('critical')
    expect(verdict).toBe('fail')
  })

  it('are none and incomplete for a document without text', async () => {
    const { score, verdict, coverage, findings } = await assess(core, sampleDocument('\f'), options)
    expect({ score, verdict, findings }).toEqual({ score: null, verdict: 'incomplete', findings: [] })
    expect(coverage).toMatchObject({ pages: 2, pagesRead: 0, pagesWithoutText: [1, 2], rulesRun: [] })
    expect(coverage.rulesSkipped[0]?.reason).toBe('The document has no text that can be read.')
  })

  it('are incomplete when most pages could not be read', async () => {
    const { score, verdict } = await assess(core, sampleDocument('# T\n\nTexto.\f\f'), options)
    expect({ score, verdict }).toEqual({ score: 100, verdict: 'incomplete' })
  })

  it('are incomplete when the rules do not read the language', async () => {
    const text =
      '# Contrato\n\nEl plazo de entrega es de diez días y no será prorrogado por la parte que lo pidió en su carta.'
    const { verdict, coverage } = await assess(named('core.contract'), sampleDocument(text), options)
    expect(verdict).toBe('incomplete')
    expect(coverage.rulesSkipped.every(({ ruleId }) => ruleId.startsWith('CON-'))).toBe(true)
    expect(coverage.rulesRun).toContain('DOC-001')
  })
})

describe('packs', () => {
  it('run a shared rule once', async () => {
    const { coverage } = await assess(
      named('core.document', 'core.contract'),
      sampleDocument('# T\n\nX.'),
      options,
    )
    const ids = [...coverage.rulesRun, ...coverage.rulesNotApplicable.map(({ ruleId }) => ruleId)]
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.length).toBe(packs.get('core.contract')?.rules.length)
  })

  it('outside their validity or type of file do not apply', async () => {
    const yaml = (head: string) => `
apiVersion: docmesh.dev/rules/v1
id: my.pack
version: 1.0.0
title: T
${head}
rules:
  - {id: T-1, kind: date, severity: low, category: test, title: T, message: M, remediation: R, date: {check: exists}, tests: [{name: a, text: 31/02/2026, expect: [{severity: low}]}, {name: b, text: b, expect: []}]}`
    const applies = async (head: string) => {
      const pack = compilePacks([{ name: 'my.pack', yaml: yaml(head) }]).packs.get('my.pack')
      const { coverage } = await assess(pack ? [pack] : [], sampleDocument('31/02/2026'), options)
      return coverage.rulesRun.length === 1
    }
    expect(await applies('validity: {from: 2026-08-01, to: 2026-08-01}')).toBe(true)
    expect(await applies('validity: {from: 2026-08-02}')).toBe(false)
    expect(await applies('validity: {to: 2026-07-31}')).toBe(false)
    expect(await applies('appliesTo: {mime: [text/markdown]}')).toBe(true)
    expect(await applies('appliesTo: {mime: [application/pdf]}')).toBe(false)
  })
})

it('gives the same output for the same input', async () => {
  const document = sampleDocument('# T\n\nlorem ipsum 31/02/2026 (81) 99876-5432 e R$ 10,00 (vinte reais).')
  const once = await assess([...packs.values()], document, options)
  expect(await assess([...packs.values()], document, options)).toEqual(once)
})

it('rejects with the reason of its signal', async () => {
  const signal = AbortSignal.abort(new Error('client went away'))
  await expect(assess(core, sampleDocument('# T'), { ...options, signal })).rejects.toThrow(
    'client went away',
  )
})

it('judges a whole contract', async () => {
  const contract = `# Contrato de prestação de serviços

A CONTRATANTE, Alfa Ltda., CNPJ 11.222.333/0001-81, e a CONTRATADA, Beta Ltda., CNPJ 12.ABC.345/01DE-35, ajustam:

## Cláusula primeira – Do objeto

A limpeza diária do prédio da sede da contratante, em Recife, conforme a cláusula segunda.

## Cláusula segunda – Do preço e do pagamento

O valor total é de R$ 12.000,00 (doze mil reais), pago em 12 (doze) parcelas de R$ 1.000,00, com vencimento no dia 5 e reajuste anual pelo IPCA. O atraso gera multa de 2%.

## Cláusula terceira – Da vigência e da rescisão

O contrato tem início em 01/09/2026 e término em 31/08/2027, e pode ser encerrado com aviso prévio de 30 (trinta) dias.

## Cláusula quarta – Do sigilo e dos dados pessoais

As partes guardam sigilo e tratam dados pessoais conforme a LGPD.

## Cláusula quinta – Do foro

O contrato é regido pelas leis do Brasil e fica eleito o foro da comarca de Recife.

____________________
Contratante

____________________
Contratada

Testemunhas:

____________________
Nome: Ana

____________________
Nome: Rui`
  const clean = await assess(named('core.contract'), sampleDocument(contract), options)
  expect(clean.findings).toEqual([])
  expect(clean).toMatchObject({ score: 100, verdict: 'pass' })

  const worse = contract
    .replace('(doze mil reais)', '(vinte mil reais)')
    .replace('cláusula segunda.', 'cláusula nona.')
  const { findings, score } = await assess(named('core.contract'), sampleDocument(worse), options)
  expect(findings.map(({ ruleId }) => ruleId)).toEqual(['CON-017', 'DOC-012'])
  expect(score).toBe(75)
})
