import { type Analysis, AnalysisState, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { Batch, BatchState } from '@docmesh/contracts/analysis/v1/batch'
import { exitCodeOf } from '../analysis-run.ts'
import { EXIT, type ExitCode, worstOf } from '../exit-codes.ts'
import { refusesDocument } from '../failure.ts'
import { LABELS, type Locale } from '../render/labels.ts'
import { table } from '../render/table.ts'
import { plain } from '../render/text.ts'
import type { Refused } from './files.ts'

/** What became of one document. */
export interface DocumentOutcome {
  /** Path or name. */
  readonly file: string
  readonly documentId: string
  /** Undefined for one that was cancelled before its turn. */
  readonly analysis: Analysis | undefined
}

export interface BatchSummary {
  readonly batch: Batch
  readonly outcomes: readonly DocumentOutcome[]
  readonly refused: readonly Refused[]
}

export const BATCH_STATES: Readonly<Record<BatchState, string>> = {
  [BatchState.UNSPECIFIED]: 'unknown',
  [BatchState.RUNNING]: 'running',
  [BatchState.COMPLETED]: 'completed',
  [BatchState.PARTIAL]: 'partial',
  [BatchState.FAILED]: 'failed',
  [BatchState.CANCELLED]: 'cancelled',
}
/** More are in the output of --json. */
const MAX_WORST = 10
const MAX_FAILURES = 20

export const scoreText = (score: number | undefined): string => (score === undefined ? '-' : score.toFixed(1))

/** The batch for people: counts, the worst documents, and what went wrong. */
export function summaryText({ batch, outcomes, refused }: BatchSummary, locale: Locale): string {
  const { id, name, state, total, completed, failed, cancelled, meanScore } = batch
  const worst = outcomes
    .flatMap(({ file, analysis }) => {
      const { score, verdict = Verdict.UNSPECIFIED } = analysis?.result ?? {}
      return score === undefined ? [] : [{ file, score, verdict }]
    })
    .sort((a, b) => a.score - b.score)
  const failures = [
    ...outcomes.flatMap((outcome) => {
      const why = failureOf(outcome)
      return why === undefined ? [] : [{ file: outcome.file, why }]
    }),
    ...refused.map(({ path, reason }) => ({ file: path, why: reason })),
  ]
  const counts = [`${completed} completed`, `${failed} failed`, `${cancelled} cancelled`]
  if (refused.length > 0) counts.push(`${refused.length} not uploaded`)
  return [
    `batch ${id}${name && ` “${plain(name)}”`}: ${BATCH_STATES[state]}\n`,
    `${total} documents: ${counts.join(', ')}\n`,
    `mean score: ${scoreText(meanScore)}\n`,
    section(
      ['SCORE', 'RESULT', 'WORST DOCUMENTS'],
      worst.map(({ score, verdict, file }) => [String(score), LABELS[locale].verdicts[verdict], file]),
      MAX_WORST,
    ),
    section(
      ['NOT ANALYSED', 'WHY'],
      failures.map(({ file, why }) => [file, why]),
      MAX_FAILURES,
    ),
  ].join('')
}

function section(head: readonly string[], rows: readonly (readonly string[])[], most: number): string {
  if (rows.length === 0) return ''
  const more = rows.length > most ? `and ${rows.length - most} more, which --json shows\n` : ''
  return `\n${table(head, rows.slice(0, most))}${more}`
}

function failureOf({ analysis }: DocumentOutcome): string | undefined {
  if (!analysis) return 'cancelled before its turn'
  if (analysis.state === AnalysisState.CANCELLED) return 'cancelled'
  if (analysis.state !== AnalysisState.FAILED) return undefined
  return analysis.failure?.message || analysis.failure?.reason || 'failed'
}

/** For programs. */
export const summaryJson = ({ batch, outcomes, refused }: BatchSummary): unknown => ({
  batch: Batch.toJSON(batch),
  documents: outcomes.map((outcome) => {
    const { file, documentId, analysis } = outcome
    const { score, verdict } = analysis?.result ?? {}
    return {
      file,
      documentId,
      analysisId: analysis?.id,
      state: STATES[analysis?.state ?? AnalysisState.CANCELLED] ?? 'running',
      score,
      verdict: verdict === undefined ? undefined : LABELS.en.verdicts[verdict].toLowerCase(),
      failure: failureOf(outcome),
    }
  }),
  notUploaded: refused.map(({ path, reason }) => ({ file: path, failure: reason })),
})

const STATES: Readonly<Partial<Record<AnalysisState, string>>> = {
  [AnalysisState.COMPLETED]: 'completed',
  [AnalysisState.FAILED]: 'failed',
  [AnalysisState.CANCELLED]: 'cancelled',
}

/** The highest of all documents. */
export const summaryExitCode = (
  { outcomes, refused }: BatchSummary,
  failUnder: number | undefined,
): ExitCode =>
  worstOf([
    ...refused.map(({ exitCode }) => exitCode),
    ...outcomes.map(({ analysis }) => outcomeExitCode(analysis, failUnder)),
  ])

function outcomeExitCode(analysis: Analysis | undefined, failUnder: number | undefined): ExitCode {
  if (analysis?.state === AnalysisState.COMPLETED) return exitCodeOf(analysis, failUnder)
  return refusesDocument(analysis?.failure?.reason ?? '') ? EXIT.document : EXIT.failed
}
