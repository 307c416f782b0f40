import {
  AnalysisCompleted,
  AnalysisFailed,
  AnalysisProgressUpdated,
  AnalysisStarted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import type { Publish } from '@docmesh/events'
import type { Queryable } from '@docmesh/postgres'
import type { Metrics } from '@docmesh/telemetry'
import { hasEnded, type Pipeline, type Run, type RunStep } from '@docmesh/workflow'
import { type Analysis, currentStep, type Step, type StepName } from './analysis.ts'
import {
  completedEvent,
  eventOptions,
  failedEvent,
  problemEvent,
  progressEvent,
  startedEvent,
} from './analysis-events.ts'
import type { Estimates } from './estimates.ts'
import { failureOf } from './failure.ts'
import type { AnalysisStore } from './store.ts'
import type { Texts } from './texts.ts'

/**
 * Called in the transaction in which an analysis completes, fails or is cancelled; again when it ends again after a retry.
 * The transaction holds the lock of the run by then: who locks something of his own here must not wait for a run while he
 * holds it elsewhere, or cancels under that lock, or the two may wait for each other.
 */
export type OnEnded = (tx: Queryable, analysis: Analysis) => Promise<void>

export interface RunViewDeps {
  readonly store: Pick<AnalysisStore, 'findings' | 'runs'>
  readonly texts: Texts
  readonly estimates: Estimates
  readonly publish: Publish
  readonly metrics: Metrics
  readonly clock: () => Date
  readonly onEnded: OnEnded
}

/** A run that takes back what it did has not ended for its owner. */
const STATES: Readonly<Record<Run['state'], Analysis['state']>> = {
  queued: 'queued',
  running: 'running',
  paused: 'paused',
  compensating: 'running',
  completed: 'completed',
  failed: 'failed',
  dead: 'failed',
  cancelled: 'cancelled',
}

/** Steps worth an event of their own; the others take milliseconds. */
const SLOW: ReadonlySet<string> = new Set<StepName>(['extract', 'rules'])

/**
 * Keeps the row of an analysis as its run goes on, and tells of what the run did, in the transaction in which it did it.
 * What somebody ordered (start, cancel, resume, retry) is told by the order, which knows who gave it.
 */
export function createRunView({
  store,
  texts,
  estimates,
  publish,
  metrics,
  onEnded,
}: RunViewDeps): NonNullable<Pipeline['onChange']> {
  const durations = metrics.histogram('docmesh_analysis_duration_seconds')
  const scores = metrics.histogram('docmesh_analysis_conformity_score')
  const problems = metrics.counter('docmesh_analysis_problems_total')

  async function tellCompleted(tx: Queryable, analysis: Analysis): Promise<void> {
    const { outcome } = analysis
    if (!outcome) throw new Error(`analysis ${analysis.id} completed without an outcome`)
    const findings = await store.findings(tx, analysis.id)
    for (const [index, finding] of findings.entries())
      if (finding.severity === 'critical' || finding.severity === 'high')
        await publish(tx, ProblemDetected, problemEvent(analysis, finding, index), eventOptions(analysis))
    const event = completedEvent(analysis, outcome, durationMs(analysis))
    await publish(tx, AnalysisCompleted, event, eventOptions(analysis))
    durations.observe({ outcome: 'completed' }, durationMs(analysis) / 1_000)
    if (outcome.score !== null) scores.observe(outcome.score)
    for (const { severity, category } of findings) problems.inc({ severity, category })
  }

  async function tellFailed(tx: Queryable, analysis: Analysis): Promise<void> {
    const { failure, steps } = analysis
    if (!failure) throw new Error(`analysis ${analysis.id} failed without a failure`)
    const attempts = steps.find(({ name }) => name === failure.step)?.attempts ?? 0
    await publish(tx, AnalysisFailed, failedEvent(analysis, failure, attempts), eventOptions(analysis))
    durations.observe({ outcome: 'failed' }, durationMs(analysis) / 1_000)
  }

  return async (tx, run, before) => {
    const state = STATES[run.state]
    const steps = run.steps.map((step) => stepOf(step, state))
    const { progress, startedAt } = run
    const shown = await store.runs.show(tx, run.id, {
      state,
      steps,
      progress,
      failure: state === 'failed' ? failureOf(run) : undefined,
      startedAt,
      endedAt: hasEnded(run) ? run.endedAt : undefined,
    })
    if (hasEnded(run)) texts.forget(run.id)
    if (!shown || shown.analysis.state === 'cancelled') return
    const { analysis, begins } = shown
    if (begins) await publish(tx, AnalysisStarted, startedEvent(analysis), eventOptions(analysis))
    // Within a run that goes on each change is a step that began, once.
    if (before === 'running' && run.state === 'running' && SLOW.has(currentStep(steps))) {
      const event = progressEvent(analysis, estimates.remainingMs(analysis, 0))
      await publish(tx, AnalysisProgressUpdated, event, eventOptions(analysis))
    }
    if (state === 'completed') await tellCompleted(tx, analysis)
    if (state === 'failed') await tellFailed(tx, analysis)
    if (hasEnded(run)) await onEnded(tx, analysis)
  }
}

const durationMs = ({ createdAt, endedAt }: Analysis): number =>
  Math.max(0, (endedAt?.getTime() ?? Number.NaN) - createdAt.getTime())

/** What a step is that was under way when its run stopped: it will be done again, or was not done. */
const STOPPED: Readonly<Record<Analysis['state'], Step['state']>> = {
  queued: 'pending',
  running: 'running',
  paused: 'pending',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'skipped',
}

function stepOf({ name, state, detail, attempts, startedAt, endedAt }: RunStep, of: Analysis['state']): Step {
  return {
    name: name as StepName,
    state: state === 'running' ? STOPPED[of] : state,
    detail: state === 'running' && of === 'cancelled' ? 'cancelled' : detail,
    attempts,
    ...(startedAt && { startedAt: startedAt.toISOString() }),
    ...(endedAt && { endedAt: endedAt.toISOString() }),
  }
}
