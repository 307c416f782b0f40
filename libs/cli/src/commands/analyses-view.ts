import { type Analysis, AnalysisState, StepState, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { table } from '../render/table.ts'
import { durationMs, durationText, timeText } from '../render/text.ts'

export const STATES = {
  queued: AnalysisState.QUEUED,
  running: AnalysisState.RUNNING,
  paused: AnalysisState.PAUSED,
  completed: AnalysisState.COMPLETED,
  failed: AnalysisState.FAILED,
  cancelled: AnalysisState.CANCELLED,
} as const

const STEP_STATES = {
  [StepState.UNSPECIFIED]: '-',
  [StepState.PENDING]: 'pending',
  [StepState.RUNNING]: 'running',
  [StepState.COMPLETED]: 'completed',
  [StepState.SKIPPED]: 'skipped',
  [StepState.FAILED]: 'failed',
  [StepState.COMPENSATED]: 'taken back',
} as const
const VERDICTS = {
  [Verdict.UNSPECIFIED]: '-',
  [Verdict.PASS]: 'pass',
  [Verdict.FAIL]: 'fail',
  [Verdict.INCOMPLETE]: 'incomplete',
} as const

export const stateText = (state: AnalysisState): string =>
  Object.entries(STATES).find(([, value]) => value === state)?.[0] ?? '-'

export const percentText = ({ progressPercent }: Analysis): string => `${Math.floor(progressPercent)} %`

/** The step under way, and how long the analysis will take, as far as that is known. */
export function stepText({ steps, queuePosition, estimatedRemaining, failure }: Analysis): string {
  const running = steps.find(({ state }) => state === StepState.RUNNING)?.name
  const leftMs = durationMs(estimatedRemaining)
  const parts = [
    queuePosition > 0 ? `place ${queuePosition}` : (running ?? ''),
    leftMs ? `about ${durationText(leftMs)} left` : '',
    failure ? `${failure.step}: ${failure.message}` : '',
  ]
  return parts.filter((part) => part !== '').join(', ')
}

export function analysisTable(analyses: readonly Analysis[]): string {
  const rows = analyses.map((analysis) => [
    analysis.id,
    analysis.documentName || analysis.documentId,
    stateText(analysis.state),
    percentText(analysis),
    scoreText(analysis),
    timeText(analysis.createdAt),
  ])
  return table(['ID', 'DOCUMENT', 'STATE', 'DONE', 'SCORE', 'CREATED (UTC)'], rows)
}

export function analysisDetails(analysis: Analysis): string {
  const { failure, rulePacks, batchId, rerunOf } = analysis
  const facts = [
    ['document', `${analysis.documentName} (${analysis.documentId}, version ${analysis.documentVersion})`],
    ['state', stateText(analysis.state)],
    ['done', [percentText(analysis), stepText(analysis)].filter(Boolean).join(', ')],
    ['score', scoreText(analysis)],
    ['rule packs', rulePacks.map(({ id, version }) => `${id}@${version}`).join(', ') || '-'],
    ...(batchId ? [['batch', batchId]] : []),
    ...(rerunOf ? [['re-run of', rerunOf]] : []),
    ...(failure ? [['failure', `${failure.reason}: ${failure.message}`]] : []),
    ['created', timeText(analysis.createdAt)],
    ['ended', timeText(analysis.endedAt)],
  ]
  const steps = analysis.steps.map(({ name, state, attempts, detail }) => [
    name,
    STEP_STATES[state],
    String(attempts),
    detail,
  ])
  return `${table(['id', analysis.id], facts)}\n${table(['STEP', 'STATE', 'ATTEMPTS', 'DETAIL'], steps)}`
}

function scoreText({ result }: Analysis): string {
  if (!result) return '-'
  const verdict = VERDICTS[result.verdict]
  return result.score === undefined ? verdict : `${result.score} ${verdict}`
}
