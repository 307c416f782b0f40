// Analysis messages ↔ domain.
import {
  type AnalysisOptions,
  AnalysisState,
  FindingSource,
  Priority,
  Severity,
  StepState,
  Verdict,
} from '@docmesh/contracts/analysis/v1/analysis'
import { durationOf } from '@docmesh/rpc'
import type { Analysis, Options, Outcome, Step } from './analysis.ts'
import type { Finding } from './rules/findings.ts'
import { DEDUCTIONS } from './rules/score.ts'

export const SEVERITIES = {
  low: Severity.LOW,
  medium: Severity.MEDIUM,
  high: Severity.HIGH,
  critical: Severity.CRITICAL,
} as const
export const VERDICTS = { pass: Verdict.PASS, fail: Verdict.FAIL, incomplete: Verdict.INCOMPLETE } as const

const STATES = {
  queued: AnalysisState.QUEUED,
  running: AnalysisState.RUNNING,
  paused: AnalysisState.PAUSED,
  completed: AnalysisState.COMPLETED,
  failed: AnalysisState.FAILED,
  cancelled: AnalysisState.CANCELLED,
} as const
const STEP_STATES = {
  pending: StepState.PENDING,
  running: StepState.RUNNING,
  completed: StepState.COMPLETED,
  skipped: StepState.SKIPPED,
  failed: StepState.FAILED,
  undone: StepState.COMPENSATED,
} as const
export const PRIORITIES = { low: Priority.LOW, normal: Priority.NORMAL, high: Priority.HIGH } as const

export const stateFrom = (state: AnalysisState): Analysis['state'] | undefined =>
  (Object.keys(STATES) as Analysis['state'][]).find((name) => STATES[name] === state)

/** The languages that messages exist in; English serves all others. */
export const localeFrom = (locale: string): Options['locale'] =>
  locale.toLowerCase().startsWith('pt') ? 'pt-BR' : 'en'

export const optionsFrom = (options: AnalysisOptions | undefined): Options => ({
  rulePacks: options?.rulePacks ?? [],
  locale: localeFrom(options?.locale ?? ''),
  priority:
    options?.priority === Priority.LOW ? 'low' : options?.priority === Priority.HIGH ? 'high' : 'normal',
  aiEnabled: options?.aiEnabled ?? false,
  notify: options?.notify ?? false,
  unmask: options?.unmaskPersonalData ?? false,
})

/** What an analysis is told with beside its row. */
export interface Outlook {
  /** From 1; 0 when it does not wait. */
  readonly queuePosition?: number
  readonly remainingMs?: number | undefined
}

export const analysisMessage = (analysis: Analysis, { queuePosition = 0, remainingMs }: Outlook = {}) => ({
  id: analysis.id,
  tenantId: analysis.tenantId,
  requestedBy: analysis.requestedBy,
  documentId: analysis.documentId,
  documentVersion: analysis.documentVersion,
  documentName: analysis.documentName,
  options: {
    rulePacks: [...analysis.options.rulePacks],
    locale: analysis.options.locale,
    priority: PRIORITIES[analysis.options.priority],
    aiEnabled: analysis.options.aiEnabled,
    notify: analysis.options.notify,
    unmaskPersonalData: analysis.options.unmask,
  },
  rulePacks: analysis.rulePacks.map((ref) => ({ ...ref })),
  state: STATES[analysis.state],
  progressPercent: analysis.progress,
  steps: analysis.steps.map(stepMessage),
  estimatedRemaining: remainingMs === undefined ? undefined : durationOf(remainingMs),
  queuePosition,
  result: analysis.state === 'completed' && analysis.outcome ? resultMessage(analysis.outcome) : undefined,
  failure: analysis.failure,
  createdAt: analysis.createdAt,
  startedAt: analysis.startedAt,
  endedAt: analysis.endedAt,
  batchId: analysis.batchId ?? '',
  rerunOf: analysis.rerunOf ?? '',
})

const stepMessage = ({ name, state, detail, attempts, startedAt, endedAt }: Step) => ({
  name,
  state: STEP_STATES[state],
  detail,
  attempts,
  startedAt: startedAt === undefined ? undefined : new Date(startedAt),
  endedAt: endedAt === undefined ? undefined : new Date(endedAt),
})

const resultMessage = ({ score, verdict, ledger, coverage, counts }: Outcome) => ({
  score: score ?? undefined,
  verdict: VERDICTS[verdict],
  counts: countsMessage(counts),
  ledger: ledger.map(({ ruleId, severity, deduction, count }) => ({
    ruleId,
    severity: SEVERITIES[severity],
    findings: count,
    counted: deduction / DEDUCTIONS[severity],
    points: deduction,
  })),
  coverage: {
    rulesRun: coverage.rulesRun.length,
    rulesNotApplicable: coverage.rulesNotApplicable.length,
    rulesNotAssessed: coverage.rulesSkipped.map(({ ruleId, reason }) => ({ ruleId, reason })),
    pagesRead: coverage.pagesRead,
    pagesTotal: coverage.pages,
  },
})

export const countsMessage = (counts: Outcome['counts']) => ({ ...counts, suppressed: 0 })

/** `index` is the place in the list of all findings of the analysis. */
export const findingMessage = (finding: Finding, index: number, { rulePacks }: Analysis) => ({
  id: String(index + 1),
  ruleId: finding.ruleId,
  rulePack: {
    id: finding.packId,
    version: finding.packVersion,
    sha256: rulePacks.find(({ id }) => id === finding.packId)?.sha256 ?? '',
  },
  severity: SEVERITIES[finding.severity],
  category: finding.category,
  confidence: finding.confidence,
  title: finding.title,
  message: finding.message,
  remediation: finding.remediation,
  evidence: finding.evidence.map(({ page, charStart, charEnd, quote, textSha256, box }) => ({
    page,
    charStart,
    charEnd,
    quote,
    textSha256,
    box,
  })),
  references: finding.references.map(({ label, url = '' }) => ({ title: label, url })),
  fingerprint: finding.fingerprint,
  source: finding.source === 'ai' ? FindingSource.AI : FindingSource.RULE,
})
