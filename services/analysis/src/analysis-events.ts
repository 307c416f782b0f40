// The events of an analysis, as they are published.
import type {
  AnalysisCompleted,
  AnalysisFailed,
  AnalysisProgressUpdated,
  AnalysisQueued,
  AnalysisStarted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import { durationOf } from '@docmesh/rpc'
import { type Analysis, type Caller, currentStep, type Failure, type Outcome } from './analysis.ts'
import type { Finding } from './rules/findings.ts'
import { countsMessage, PRIORITIES, SEVERITIES, VERDICTS } from './wire.ts'

export const eventOptions = ({ id, tenantId, requestedBy }: Analysis) => ({
  aggregateType: 'analysis',
  aggregateId: id,
  correlationId: id,
  tenantId,
  userId: requestedBy,
})

/** Of what somebody ordered: the event names who did. */
export const orderOptions = (aggregateId: string, { userId, tenantId, requestId }: Caller) => ({
  aggregateType: 'analysis',
  aggregateId,
  correlationId: requestId,
  userId,
  tenantId,
})

export const problemEvent = (
  { id, documentId, documentName, requestedBy, options: { notify, locale } }: Analysis,
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
  documentName,
  requestedBy,
  notify,
  locale,
})

export const completedEvent = (
  analysis: Analysis,
  { score, verdict, counts }: Outcome,
  durationMs: number,
): AnalysisCompleted => ({
  analysisId: analysis.id,
  documentId: analysis.documentId,
  documentName: analysis.documentName,
  score: score ?? undefined,
  verdict: VERDICTS[verdict],
  counts: countsMessage(counts),
  duration: durationOf(durationMs),
  aiUsed: false,
  requestedBy: analysis.requestedBy,
  notify: analysis.options.notify,
  locale: analysis.options.locale,
})

const optionalDuration = (ms: number | undefined): ReturnType<typeof durationOf> | undefined =>
  ms === undefined ? undefined : durationOf(ms)

export const queuedEvent = (
  { id, documentId, options }: Analysis,
  queuePosition: number,
  estimatedMs: number | undefined,
): AnalysisQueued => ({
  analysisId: id,
  documentId,
  priority: PRIORITIES[options.priority],
  estimatedDuration: optionalDuration(estimatedMs),
  queuePosition,
})

export const startedEvent = ({ id, documentId, rulePacks }: Analysis): AnalysisStarted => ({
  analysisId: id,
  documentId,
  rulePacks: [...rulePacks],
})

export const progressEvent = (
  { id, documentId, progress, steps }: Analysis,
  remainingMs: number | undefined,
): AnalysisProgressUpdated => ({
  analysisId: id,
  documentId,
  progressPercent: progress,
  currentStep: currentStep(steps),
  estimatedRemaining: optionalDuration(remainingMs),
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
