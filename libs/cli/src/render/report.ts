import {
  type Analysis,
  type AnalysisResult,
  type Finding,
  type ScoreDeduction,
  Severity,
  type SeverityCounts,
  Verdict,
} from '@docmesh/contracts/analysis/v1/analysis'
import { LABELS, type Labels, type Locale } from './labels.ts'
import type { Style } from './style.ts'
import { plain, truncated, wrapped } from './text.ts'

export interface ReportOptions {
  readonly locale: Locale
  readonly style: Style
  /** Longest line. Default 100. */
  readonly width?: number
}

interface Context {
  readonly labels: Labels
  readonly style: Style
  readonly width: number
}

const WORST_FIRST = [Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW] as const
const MAX_QUOTE = 300
const MAX_EVIDENCE = 3
const FULL_SCORE = 100
const INDENT = '    '

/** The report of a completed analysis for people. */
export function textReport(
  analysis: Analysis,
  findings: readonly Finding[],
  { locale, style, width = 100 }: ReportOptions,
): string {
  const context = { labels: LABELS[locale], style, width }
  const { result } = analysis
  const lines = [
    ...headOf(analysis, context),
    '',
    ...(result ? scoreOf(result, context) : []),
    ...(findings.length === 0 ? ['', context.labels.nothingFound] : findingsOf(findings, context)),
    ...(result ? ledgerOf(result, context) : []),
    ...(result ? coverageOf(result, context) : []),
    '',
  ]
  return lines.join('\n')
}

function headOf(
  { documentName, documentVersion, rulePacks }: Analysis,
  { labels, style }: Context,
): string[] {
  const packs = rulePacks.map(({ id, version }) => `${id}@${version}`).join(', ')
  return [
    style.bold(plain(documentName)),
    style.dim([`${labels.version} ${documentVersion}`, plain(packs)].filter(Boolean).join(' · ')),
  ]
}

function scoreOf({ score, verdict, counts }: AnalysisResult, { labels, style }: Context): string[] {
  const value = score === undefined ? labels.noScore : `${score}/${FULL_SCORE}`
  const answer = verdictStyle(verdict, style)(`${value}  ${labels.verdicts[verdict]}`)
  return [`${labels.score}  ${style.bold(answer)}`, ...(counts ? [tallyOf(counts, labels)] : [])]
}

function verdictStyle(verdict: Verdict, style: Style): (text: string) => string {
  if (verdict === Verdict.PASS) return style.green
  return verdict === Verdict.FAIL ? style.red : style.yellow
}

function tallyOf({ critical, high, medium, low, suppressed }: SeverityCounts, labels: Labels): string {
  const bySeverity = { CRITICAL: critical, HIGH: high, MEDIUM: medium, LOW: low }
  const parts = Object.entries(bySeverity).map(
    ([name, count]) =>
      `${count} ${labels.severities[Severity[name as keyof typeof bySeverity]].toLowerCase()}`,
  )
  return [...parts, ...(suppressed > 0 ? [`${suppressed} ${labels.suppressed}`] : [])].join(' · ')
}

function findingsOf(findings: readonly Finding[], context: Context): string[] {
  const groups = Map.groupBy(findings, ({ severity }) => severity)
  return [...WORST_FIRST, Severity.UNSPECIFIED].flatMap((severity) => {
    const group = groups.get(severity)
    if (!group) return []
    const title = `${context.labels.severities[severity]} (${group.length})`
    return [
      '',
      severityStyle(severity, context.style)(title),
      ...group.flatMap((one) => findingOf(one, context)),
    ]
  })
}

const severityStyle = (severity: Severity, style: Style) => (text: string) =>
  style.bold(
    severity >= Severity.HIGH ? style.red(text) : severity === Severity.MEDIUM ? style.yellow(text) : text,
  )

function findingOf(finding: Finding, { labels, style, width }: Context): string[] {
  const { ruleId, title, message, remediation, evidence, references } = finding
  const basis = references.map(({ title, section }) => [title, section].filter(Boolean).join(', ')).join('; ')
  return [
    `  ${style.bold(plain(ruleId))}  ${plain(title || message)}`,
    ...(title && message ? wrapped(message, width, INDENT) : []),
    ...evidence.slice(0, MAX_EVIDENCE).flatMap(({ page, quote }) => {
      const shown = `${labels.page} ${page}: “${truncated(plain(quote), MAX_QUOTE)}”`
      return wrapped(shown, width, INDENT).map(style.dim)
    }),
    ...(evidence.length > MAX_EVIDENCE ? [`${INDENT}(+ ${evidence.length - MAX_EVIDENCE})`] : []),
    ...(remediation ? wrapped(`${labels.mend} ${remediation}`, width, INDENT) : []),
    ...(basis ? wrapped(`${labels.basis} ${basis}`, width, INDENT).map(style.dim) : []),
  ]
}

function ledgerOf({ score, ledger }: AnalysisResult, { labels, style }: Context): string[] {
  if (score === undefined || ledger.length === 0) return []
  const lines = ledger.map((entry) => `  ${`-${entry.points}`.padStart(5)}  ${deductionOf(entry, labels)}`)
  return [
    '',
    style.bold(labels.howScored),
    `  ${String(FULL_SCORE).padStart(5)}`,
    ...lines,
    `  ${`= ${score}`.padStart(5)}`,
  ]
}

function deductionOf({ ruleId, severity, findings, counted }: ScoreDeduction, labels: Labels): string {
  const noun = findings === 1 ? labels.finding : labels.findings
  const cap = counted < findings ? `, ${counted} ${labels.counted}` : ''
  return `${plain(ruleId)}  ${labels.severities[severity].toLowerCase()}, ${findings} ${noun}${cap}`
}

function coverageOf({ coverage }: AnalysisResult, { labels, style, width }: Context): string[] {
  if (!coverage) return []
  const { rulesRun, rulesNotApplicable, rulesNotAssessed, pagesRead, pagesTotal, ocrConfidence } = coverage
  return [
    '',
    style.bold(labels.coverage),
    `  ${rulesRun} ${labels.rulesRun} · ${rulesNotApplicable} ${labels.notApplicable} · ` +
      `${rulesNotAssessed.length} ${labels.notAssessed} · ${pagesRead}/${pagesTotal} ${labels.pagesRead}`,
    ...(ocrConfidence === undefined ? [] : [`  ${Math.round(ocrConfidence * 100)} % ${labels.recognition}`]),
    ...rulesNotAssessed.flatMap(({ ruleId, reason }) =>
      wrapped(`${ruleId}: ${reason} (${labels.notAssessed})`, width, INDENT),
    ),
  ]
}
