// The events of an analysis, as its pipeline publishes them.
import type {
  AnalysisCompleted,
  AnalysisFailed,
  AnalysisProgressUpdated,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import { durationOf } from '@docmesh/rpc'
import { type Analysis, currentStep, type Failure, type Outcome, progressOf, type Step } from './analysis.ts'
import type { Finding } from './rules/findings.ts'
import { countsMessage, SEVERITIES, VERDICTS } from './wire.ts'

export const eventOptions = ({ id, tenantId, requestedBy }: Analysis) => ({
  aggregateType: 'analysis',
  aggregateId: id,
  correlationId: id,
  tenantId,
  userId: requestedBy,
})

export const problemEvent = (
  { id, documentId }: Analysis,
  { severity, category, ruleId, confidence }: Finding,
  index: number,
): ProblemDetected => ({
  analysisId: id,
  documentId,
  findingId: String(index + 1),
  severity: SEVERITIES[severity],
  category,
  ruleId,
  confidence,
})

export const completedEvent = (
  analysis: Analysis,
  { score, verdict, counts }: Outcome,
  endedAt: Date,
): AnalysisCompleted => ({
  analysisId: analysis.id,
  documentId: analysis.documentId,
  documentName: analysis.documentName,
  score: score ?? undefined,
  verdict: VERDICTS[verdict],
  counts: countsMessage(counts),
  duration: durationOf(endedAt.getTime() - analysis.createdAt.getTime()),
  aiUsed: false,
  requestedBy: analysis.requestedBy,
  notify: analysis.options.notify,
  locale: analysis.options.locale,
})

export const progressEvent = (
  { id, documentId }: Analysis,
  steps: readonly Step[],
): AnalysisProgressUpdated => ({
  analysisId: id,
  documentId,
  progressPercent: progressOf(steps),
  currentStep: currentStep(steps),
  estimatedRemaining: undefined,
})

export const failedEvent = (analysis: Analysis, failure: Failure, attempts: number): AnalysisFailed => ({
  analysisId: analysis.id,
  documentId: analysis.documentId,
  documentName: analysis.documentName,
  failure,
  attempts,
  requestedBy: analysis.requestedBy,
  notify: analysis.options.notify,
  locale: analysis.options.locale,
})
