import { Analysis, Finding, Severity, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import pc from 'picocolors'
import { describe, expect, it } from 'vitest'
import { textReport } from './report.ts'

const style = pc.createColors(false)

const analysis = Analysis.fromPartial({
  documentName: 'contract.pdf',
  documentVersion: 3,
  rulePacks: [{ id: 'core.contract', version: '1.2.0' }],
  result: {
    score: 63,
    verdict: Verdict.FAIL,
    counts: { critical: 1, high: 0, medium: 2, low: 1, suppressed: 4 },
    ledger: [
      { ruleId: 'CT-004', severity: Severity.CRITICAL, findings: 1, counted: 1, points: 20 },
      { ruleId: 'CT-009', severity: Severity.MEDIUM, findings: 5, counted: 3, points: 15 },
    ],
    coverage: {
      rulesRun: 40,
      rulesNotApplicable: 2,
      rulesNotAssessed: [{ ruleId: 'CT-030', reason: 'two pages have no text' }],
      pagesRead: 8,
      pagesTotal: 10,
      ocrConfidence: 0.914,
    },
  },
})

const finding = (partial: Parameters<typeof Finding.fromPartial>[0]): Finding =>
  Finding.fromPartial({ ruleId: 'CT-004', title: 'Title', message: 'Message.', ...partial })

const findings = [
  finding({
    severity: Severity.CRITICAL,
    evidence: [{ page: 2, quote: 'Signed \u001b[2Jby nobody' }],
    remediation: 'Have both parties sign.',
    references: [{ title: 'Lei 14.133/2021', section: 'art. 25' }],
  }),
  finding({ ruleId: 'CT-009', severity: Severity.MEDIUM, evidence: Array(5).fill({ page: 1, quote: 'q' }) }),
]

const report = textReport(analysis, findings, { locale: 'en', style })

describe('text report', () => {
  it('begins with the document, its version and the pinned packs', () => {
    expect(report.split('\n').slice(0, 2)).toEqual(['contract.pdf', 'version 3 · core.contract@1.2.0'])
  })

  it('says score, verdict and counts', () => {
    expect(report).toContain('Score  63/100  FAIL\n1 critical · 0 high · 2 medium · 1 low · 4 suppressed\n')
  })

  it('groups findings by severity, worst first, with page, quote, remedy and basis', () => {
    expect(report.indexOf('Critical (1)')).toBeLessThan(report.indexOf('Medium (1)'))
    expect(report).toContain('  CT-004  Title\n    Message.\n    page 2: “Signed [2Jby nobody”')
    expect(report).toContain('To mend it: Have both parties sign.\n    Basis: Lei 14.133/2021, art. 25')
  })

  it('shows three places of a finding and how many more there are', () => {
    expect(report.match(/page 1: “q”/g)).toHaveLength(3)
    expect(report).toContain('(+ 2)')
  })

  it('shows the ledger from 100 to the score, and what a cap left out', () => {
    expect(report).toMatch(/100\n +-20 {2}CT-004 {2}critical, 1 finding\n/)
    expect(report).toMatch(/-15 {2}CT-009 {2}medium, 5 findings, 3 counted\n +-?= 63/)
  })

  it('says what was not looked at', () => {
    expect(report).toContain('40 rules checked · 2 not applicable · 1 not assessed · 8/10 pages read')
    expect(report).toContain('CT-030: two pages have no text')
    expect(report).toContain('91 % confidence of the character recognition')
  })

  it('speaks Portuguese', () => {
    const text = textReport(analysis, findings, { locale: 'pt-BR', style })
    for (const words of ['Nota  63/100  NÃO CONFORME', 'Crítico (1)', 'O que fazer:', 'página 2'])
      expect(text).toContain(words)
  })

  it('says so when there is nothing to correct', () => {
    const clean = { ...analysis, result: { ...analysis.result, score: 100, ledger: [] } } as Analysis
    const text = textReport(clean, [], { locale: 'en', style })
    expect(text).toContain('Nothing to correct.')
    expect(text).not.toContain('How the score came about')
  })

  it('has no score for a document that could not be read', () => {
    const unread = Analysis.fromPartial({ result: { verdict: Verdict.INCOMPLETE } })
    expect(textReport(unread, [], { locale: 'en', style })).toContain('Score  no score  INCOMPLETE')
  })

  it('is coloured on request alone', () => {
    expect(report).not.toContain('\u001b')
    expect(textReport(analysis, findings, { locale: 'en', style: pc.createColors(true) })).toContain(
      '\u001b[31m',
    )
  })

  it('keeps to the width', () => {
    const long = [finding({ severity: Severity.LOW, message: 'word '.repeat(80) })]
    const lines = textReport(analysis, long, { locale: 'en', style, width: 50 }).split('\n')
    const message = lines.filter((line) => line.includes('word'))
    expect(message.length).toBeGreaterThan(1)
    expect(Math.max(...message.map(({ length }) => length))).toBeLessThanOrEqual(50)
  })
})
