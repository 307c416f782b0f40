import type { Assessment } from '../rules/assess.ts'
import type { Finding } from '../rules/findings.ts'
import type { Locale, Localised } from '../rules/kinds/kind.ts'
import type { Severity } from '../rules/pack-schema.ts'
import type { Verdict } from '../rules/score.ts'
import { mask } from './mask.ts'

/** What every renderer takes. `text` is the canonical text that the evidence refers to. */
export interface ReportInput {
  readonly document: {
    readonly id: string
    readonly name: string
    readonly sha256: string
    readonly mediaType: string
  }
  readonly analysis: {
    readonly id: string
    /** ISO 8601. */
    readonly createdAt: string
    readonly locale: Locale
    readonly packs: readonly { readonly id: string; readonly version: string; readonly hash: string }[]
  }
  readonly assessment: Assessment
  readonly text?: string
}

export interface ReportOptions {
  /** Show CPF, card, phone and email in full; default false. */
  readonly unmask?: boolean
}

const maskFinding = (finding: Finding): Finding => ({
  ...finding,
  message: mask(finding.message),
  evidence: finding.evidence.map((evidence) => ({ ...evidence, quote: mask(evidence.quote) })),
})

/** The input as it may be shown: personal data masked unless asked otherwise. */
export const presentable = (input: ReportInput, { unmask = false }: ReportOptions = {}): ReportInput =>
  unmask
    ? input
    : {
        ...input,
        assessment: { ...input.assessment, findings: input.assessment.findings.map(maskFinding) },
        ...(input.text !== undefined && { text: mask(input.text) }),
      }

export const SEVERITY_NAMES: Readonly<Record<Severity, Localised>> = {
  critical: { 'pt-BR': 'Crítico', en: 'Critical' },
  high: { 'pt-BR': 'Alto', en: 'High' },
  medium: { 'pt-BR': 'Médio', en: 'Medium' },
  low: { 'pt-BR': 'Baixo', en: 'Low' },
}

export const VERDICT_NAMES: Readonly<Record<Verdict, Localised>> = {
  pass: { 'pt-BR': 'Conforme', en: 'Pass' },
  fail: { 'pt-BR': 'Não conforme', en: 'Fail' },
  incomplete: { 'pt-BR': 'Incompleto', en: 'Incomplete' },
}

const WORDS = {
  report: { 'pt-BR': 'Relatório de conformidade', en: 'Conformity report' },
  score: { 'pt-BR': 'Nota', en: 'Score' },
  noScore: { 'pt-BR': 'sem nota', en: 'no score' },
  verdict: { 'pt-BR': 'Resultado', en: 'Verdict' },
  findings: { 'pt-BR': 'Achados', en: 'Findings' },
  noFindings: { 'pt-BR': 'Nada a corrigir.', en: 'Nothing to correct.' },
  ledger: { 'pt-BR': 'Como a nota foi calculada', en: 'How the score was computed' },
  rule: { 'pt-BR': 'Regra', en: 'Rule' },
  severity: { 'pt-BR': 'Gravidade', en: 'Severity' },
  count: { 'pt-BR': 'Quantidade', en: 'Count' },
  deduction: { 'pt-BR': 'Desconto', en: 'Deduction' },
  remedy: { 'pt-BR': 'O que fazer', en: 'What to do' },
  references: { 'pt-BR': 'Base', en: 'References' },
  page: { 'pt-BR': 'página', en: 'page' },
  confidence: { 'pt-BR': 'confiança', en: 'confidence' },
  coverage: { 'pt-BR': 'O que foi verificado', en: 'What was checked' },
  rulesRun: { 'pt-BR': 'Regras verificadas', en: 'Rules checked' },
  pagesRead: { 'pt-BR': 'Páginas lidas', en: 'Pages read' },
  skipped: { 'pt-BR': 'Não verificadas', en: 'Not checked' },
  notApplicable: { 'pt-BR': 'Não se aplicam', en: 'Not applicable' },
  text: { 'pt-BR': 'Texto do documento', en: 'Text of the document' },
  packs: { 'pt-BR': 'Pacotes de regras', en: 'Rule packs' },
  document: { 'pt-BR': 'Documento', en: 'Document' },
  date: { 'pt-BR': 'Data', en: 'Date' },
} satisfies Record<string, Localised>

export type Word = keyof typeof WORDS

export const wordIn =
  (locale: Locale) =>
  (word: Word): string =>
    WORDS[word][locale]
