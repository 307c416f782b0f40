import { setTimeout as delay } from 'node:timers/promises'
import {
  AnalysisCompleted,
  AnalysisFailed,
  AnalysisProgressUpdated,
  AnalysisStarted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import type { Publish } from '@docmesh/events'
import type { Queryable } from '@docmesh/postgres'
import { type Backoff, createBackoff } from '@docmesh/resilience'
import { RpcError } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import {
  type Analysis,
  currentStep,
  type Outcome,
  type PackRef,
  STEPS,
  type Step,
  type StepName,
} from './analysis.ts'
import { completedEvent, eventOptions, failedEvent, problemEvent, progressEvent } from './analysis-events.ts'
import type { Documents, SourceText } from './documents.ts'
import { checkEvidence, masked } from './evidence.ts'
import { failureOf } from './failure.ts'
import { type Packs, packRef } from './packs.ts'
import { type Assessment, assess } from './rules/assess.ts'
import type { Finding } from './rules/findings.ts'
import type { CompiledPack } from './rules/pack.ts'
import type { AnalysisStore, Claim } from './store.ts'

export interface PipelineDeps {
  readonly store: AnalysisStore
  readonly documents: Documents
  readonly packs: Packs
  readonly publish: Publish
  readonly metrics: Metrics
  readonly logger: Logger
  readonly clock: () => Date
  /** Pause after failed attempt n of a step, from 1; default 100 ms, doubling up to 2 s. */
  readonly retryDelayMs?: Backoff
}

/** Runs one claimed analysis to its end. Resolves also when the claim was lost: then somebody else has it. */
export type Pipeline = (claim: Claim, signal: AbortSignal) => Promise<void>

/** What the steps hand on to each other. */
interface Work {
  readonly claim: Claim
  readonly signal: AbortSignal
  steps: Step[]
  rulePacks: readonly PackRef[]
  source?: SourceText
  packs?: readonly CompiledPack[]
  assessment?: Assessment
  outcome?: Outcome
  findings?: readonly Finding[]
}

/** Does the step, or says why there is nothing to do. */
type StepRun = (work: Work) => Promise<{ readonly skipped: string } | undefined>

class ClaimLost extends Error {}

/** Seven seconds of pauses in all: a dependency has the time to restart. */
const ATTEMPTS = 8
/** Workers that may take one analysis before it counts as what ends them. */
const MAX_CLAIMS = 10

/**
 * validate → queue → extract → rules → ai → consolidate → quality-check → notify. Every step's effect in the database is
 * fenced, so an analysis that two workers believe to have is written by one of them. A worker that takes over begins
 * again: the steps before the last write nothing but progress.
 */
export function createPipeline({
  store,
  documents,
  packs,
  publish,
  metrics,
  logger,
  clock,
  retryDelayMs = createBackoff({ initialMs: 100, maxMs: 2_000, jitter: 0.2 }, Math.random),
}: PipelineDeps): Pipeline {
  const stepSeconds = metrics.histogram('docmesh_analysis_step_seconds')
  const durations = metrics.histogram('docmesh_analysis_duration_seconds')
  const scores = metrics.histogram('docmesh_analysis_conformity_score')
  const problems = metrics.counter('docmesh_analysis_problems_total')

  const runs: Record<StepName, StepRun> = {
    async validate({ claim: { analysis } }) {
      for (const name of analysis.options.rulePacks) packs.find(name)
      return undefined
    },
    async queue() {
      return undefined
    },
    async extract(work) {
      const { documentId, documentVersion, tenantId } = work.claim.analysis
      work.source = await documents.text(documentId, documentVersion, tenantId, work.signal)
      return undefined
    },
    async rules(work) {
      const { document } = have(work.source)
      const { options } = work.claim.analysis
      work.packs = options.rulePacks.length > 0 ? options.rulePacks.map(packs.find) : [packs.choose(document)]
      work.rulePacks = work.packs.map(packRef)
      const today = clock().toISOString().slice(0, 10)
      work.assessment = await assess(work.packs, document, {
        locale: options.locale,
        today,
        signal: work.signal,
      })
      return undefined
    },
    async ai({ claim: { analysis } }) {
      return { skipped: analysis.options.aiEnabled ? 'no AI provider is configured' : 'not asked for' }
    },
    async consolidate(work) {
      const { findings, score, verdict, ledger, coverage } = have(work.assessment)
      const { sha256, document } = have(work.source)
      const counts = { critical: 0, high: 0, medium: 0, low: 0 }
      for (const { severity } of findings) counts[severity]++
      work.findings = work.claim.analysis.options.unmask ? findings : masked(findings, document.text)
      work.outcome = {
        score,
        verdict,
        ledger,
        coverage,
        counts,
        source: { sha256, mediaType: document.mediaType },
      }
      return undefined
    },
    async 'quality-check'(work) {
      checkEvidence(have(work.assessment).findings, have(work.source).document.text)
      return undefined
    },
    async notify({ claim: { analysis } }) {
      return analysis.options.notify ? undefined : { skipped: 'not asked for' }
    },
  }

  async function save(work: Work, events: (tx: Queryable) => Promise<void>): Promise<void> {
    const { claim, steps, rulePacks } = work
    await store.transaction(async (tx) => {
      if (!(await store.saveProgress(tx, claim, steps, rulePacks))) throw new ClaimLost()
      await events(tx)
    })
  }

  async function runStep(work: Work, name: StepName): Promise<void> {
    const begun = performance.now()
    const { analysis } = work.claim
    const observe = (outcome: 'completed' | 'skipped' | 'failed'): void => {
      stepSeconds.observe({ step: name, outcome }, (performance.now() - begun) / 1_000)
    }
    const before = work.steps.find((step) => step.name === name)
    // Done before under another claim: it is done again, but progress does not go back.
    const again = before?.endedAt !== undefined
    const startedAt = before?.startedAt ?? clock().toISOString()
    if (!again) setStep(work, name, { state: 'running', startedAt, attempts: work.claim.attempt })
    const slow = name === 'extract' || name === 'rules'
    if (slow && !again) await save(work, (tx) => announceProgress(tx, analysis, work.steps))
    try {
      const result = await withRetries(() => runs[name](work), work.signal)
      setStep(work, name, {
        state: result ? 'skipped' : 'completed',
        detail: result?.skipped ?? '',
        endedAt: clock().toISOString(),
      })
      observe(result ? 'skipped' : 'completed')
    } catch (error) {
      if (error instanceof ClaimLost || work.signal.aborted) throw error
      setStep(work, name, { state: 'failed', endedAt: clock().toISOString() })
      observe('failed')
      throw new StepFailed(name, error)
    }
  }

  async function withRetries<T>(run: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await run()
      } catch (error) {
        const transient = error instanceof RpcError && (error.remote !== undefined || error.retryable)
        if (!transient || attempt === ATTEMPTS || signal.aborted) throw error
        await delay(retryDelayMs(attempt), undefined, { signal })
      }
    }
  }

  async function announceProgress(tx: Queryable, analysis: Analysis, steps: readonly Step[]): Promise<void> {
    await publish(tx, AnalysisProgressUpdated, progressEvent(analysis, steps), eventOptions(analysis))
  }

  async function complete(work: Work): Promise<void> {
    const { claim, steps, rulePacks } = work
    const { analysis } = claim
    const outcome = have(work.outcome)
    const findings = have(work.findings)
    const endedAt = clock()
    await store.transaction(async (tx) => {
      if (!(await store.complete(tx, claim, { steps, rulePacks, outcome, findings, endedAt })))
        throw new ClaimLost()
      for (const [index, finding] of findings.entries()) {
        if (finding.severity === 'critical' || finding.severity === 'high') {
          await publish(tx, ProblemDetected, problemEvent(analysis, finding, index), eventOptions(analysis))
        }
      }
      await publish(tx, AnalysisCompleted, completedEvent(analysis, outcome, endedAt), eventOptions(analysis))
    })
    durations.observe({ outcome: 'completed' }, (endedAt.getTime() - analysis.createdAt.getTime()) / 1_000)
    if (outcome.score !== null) scores.observe(outcome.score)
    for (const { severity, category } of findings) problems.inc({ severity, category })
  }

  async function fail(work: Work, { step, cause }: StepFailed): Promise<void> {
    const { claim } = work
    const { analysis } = claim
    const failure = failureOf(step, cause)
    if (failure.reason === 'INTERNAL')
      logger.error({ err: cause, step, analysis_id: analysis.id }, 'analysis step failed')
    const endedAt = clock()
    await store.transaction(async (tx) => {
      if (!(await store.fail(tx, claim, work.steps, failure, endedAt))) throw new ClaimLost()
      await publish(tx, AnalysisFailed, failedEvent(analysis, failure, claim.attempt), eventOptions(analysis))
    })
    durations.observe({ outcome: 'failed' }, (endedAt.getTime() - analysis.createdAt.getTime()) / 1_000)
  }

  return async (claim, signal) => {
    const { analysis } = claim
    const work: Work = { claim, signal, steps: [...analysis.steps], rulePacks: analysis.rulePacks }
    try {
      if (claim.attempt > MAX_CLAIMS)
        throw new StepFailed(
          currentStep(work.steps) || 'queue',
          new Error(`${MAX_CLAIMS} workers did not end it`),
        )
      if (claim.attempt === 1) {
        const { id: analysisId, documentId } = analysis
        await save(work, async (tx) => {
          await publish(
            tx,
            AnalysisStarted,
            { analysisId, documentId, rulePacks: [] },
            eventOptions(analysis),
          )
        })
      }
      for (const name of STEPS) await runStep(work, name)
      await complete(work)
    } catch (error) {
      if (error instanceof StepFailed) await fail(work, error).catch(ignoreLostClaim)
      else if (!signal.aborted) ignoreLostClaim(error)
    }
  }
}

class StepFailed extends Error {
  readonly step: StepName

  constructor(step: StepName, cause: unknown) {
    super(`step ${step} failed`, { cause })
    this.step = step
  }
}

function ignoreLostClaim(error: unknown): void {
  if (!(error instanceof ClaimLost)) throw error
}

function have<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a step ran before the one that it depends on')
  return value
}

function setStep(work: Work, name: StepName, fields: Partial<Step>): void {
  work.steps = work.steps.map((step) => (step.name === name ? { ...step, ...fields } : step))
}
