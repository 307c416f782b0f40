import { rpcError } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import {
  definePipeline,
  type Pipeline,
  type QueueOptions,
  type Skipped,
  type StepContext,
  skip,
} from '@docmesh/workflow'
import type { Analysis, StepName } from './analysis.ts'
import { createRunView, type RunViewDeps } from './analysis-run-view.ts'
import { type Documents, EXTRACT_TIMEOUT_MS } from './documents.ts'
import { checkEvidence, masked } from './evidence.ts'
import { tellable, unexpected } from './failure.ts'
import { type Packs, packRef } from './packs.ts'
import { type Assessment, assess } from './rules/assess.ts'

export interface AnalysisPipelineDeps extends RunViewDeps {
  readonly documents: Documents
  readonly packs: Packs
  readonly logger: Logger
}

/** Steps hand on through the analysis, whose row goes when its document is erased: runs keep nothing of a document. */
type Outputs = Record<StepName, null>
type Step = StepContext<null, Outputs>
export type AnalysisPipeline = Pipeline<null, Outputs>

export const ANALYSIS_QUEUE = 'documents'

/** A tenant may have all places of an instance as long as no other wants one; then they take turns. */
export const analysisQueues = (concurrency: number): Readonly<Record<string, QueueOptions>> => ({
  [ANALYSIS_QUEUE]: { concurrency, perTenant: concurrency },
})

/**
 * validate → queue → extract → rules → ai → consolidate → quality-check → notify. The run of an analysis has its id. What
 * the rules find is a draft until it is consolidated and checked; when the run fails or is cancelled, the draft and the
 * outcome are taken back, and a retry makes them again. Extraction stays: the text is the document's.
 */
export function createAnalysisPipeline({
  documents,
  packs,
  logger,
  ...view
}: AnalysisPipelineDeps): AnalysisPipeline {
  const { texts, metrics, clock } = view
  const { runs } = view.store
  const timed = stepTimer(metrics)

  const doing =
    (name: StepName, work: (step: Step, analysis: Analysis) => Promise<Skipped | undefined>) =>
    (step: Step): Promise<null | Skipped> =>
      timed(name, step, async () => {
        try {
          const analysis = await runs.get(step.runId)
          if (!analysis) throw rpcError('ANALYSIS_NOT_FOUND', 'The analysis was erased.')
          return (await work(step, analysis)) ?? null
        } catch (error) {
          const told = tellable(error)
          if (told || step.signal.aborted) throw told ?? error
          logger.error({ err: error, step: name, analysis_id: step.runId }, 'analysis step failed')
          throw unexpected(error)
        }
      })

  async function draftOf({ id }: Analysis): Promise<Assessment> {
    const draft = await runs.draft(id)
    if (!draft) throw new Error(`analysis ${id} has no draft`)
    return draft
  }

  return definePipeline<null, Outputs>({
    name: 'analysis',
    version: '1',
    queue: ANALYSIS_QUEUE,
    onChange: createRunView(view),
    steps: [
      {
        name: 'validate',
        timeoutMs: 30_000,
        weight: 5,
        run: doing(
          'validate',
          async (step, { id, documentId, documentVersion, documentName, tenantId, options }) => {
            for (const name of options.rulePacks) packs.find(name)
            // Otherwise whoever started it has asked.
            if (documentVersion === 0 || documentName === '') {
              const head = await documents.head(documentId, documentVersion, {
                tenantId,
                signal: step.signal,
              })
              await step.transaction((tx) => runs.setDocument(tx, id, head.version, head.name))
            }
            return undefined
          },
        ),
      },
      // The engine did the waiting. The step stands for it in what users see.
      { name: 'queue', timeoutMs: 10_000, weight: 5, run: (step) => timed('queue', step, async () => null) },
      {
        name: 'extract',
        timeoutMs: EXTRACT_TIMEOUT_MS + 10_000,
        weight: 45,
        run: doing('extract', async (step, analysis) => {
          const { textSha256 } = await texts.read(analysis, step.signal)
          await step.transaction((tx) => runs.setText(tx, analysis.id, textSha256))
          return undefined
        }),
      },
      {
        name: 'rules',
        timeoutMs: 120_000,
        weight: 30,
        run: doing('rules', async (step, analysis) => {
          const { id, options } = analysis
          const { document } = await texts.read(analysis, step.signal)
          const chosen =
            options.rulePacks.length > 0 ? options.rulePacks.map(packs.find) : [packs.choose(document)]
          const draft = await assess(chosen, document, {
            locale: options.locale,
            today: clock().toISOString().slice(0, 10),
            signal: step.signal,
          })
          await step.transaction((tx) => runs.setDraft(tx, id, chosen.map(packRef), draft))
          return undefined
        }),
        compensate: (step) =>
          timed(
            'rules',
            step,
            () => step.transaction((tx) => runs.setDraft(tx, step.runId, [], undefined)),
            true,
          ),
      },
      {
        name: 'ai',
        timeoutMs: 120_000,
        weight: 5,
        run: doing('ai', async (_, { options }) =>
          skip(options.aiEnabled ? 'no AI provider is configured' : 'not asked for'),
        ),
      },
      {
        name: 'consolidate',
        timeoutMs: 60_000,
        weight: 4,
        run: doing('consolidate', async (step, analysis) => {
          const { findings, score, verdict, ledger, coverage } = await draftOf(analysis)
          const { sha256, document } = await texts.read(analysis, step.signal)
          const counts = { critical: 0, high: 0, medium: 0, low: 0 }
          for (const { severity } of findings) counts[severity]++
          const source = { sha256, mediaType: document.mediaType }
          const result = {
            outcome: { score, verdict, ledger, coverage, counts, source },
            findings: analysis.options.unmask ? findings : masked(findings, document.text),
          }
          await step.transaction((tx) => runs.setOutcome(tx, analysis.id, result))
          return undefined
        }),
        compensate: (step) =>
          timed(
            'consolidate',
            step,
            () => step.transaction((tx) => runs.setOutcome(tx, step.runId, undefined)),
            true,
          ),
      },
      {
        name: 'quality-check',
        timeoutMs: 60_000,
        weight: 3,
        run: doing('quality-check', async (step, analysis) => {
          const { document } = await texts.read(analysis, step.signal)
          checkEvidence((await draftOf(analysis)).findings, document.text)
          return undefined
        }),
      },
      {
        name: 'notify',
        timeoutMs: 10_000,
        weight: 3,
        // AnalysisCompleted says whether the requester wants to hear of it; the notification service does the telling.
        run: doing('notify', async (_, { options }) => (options.notify ? undefined : skip('not asked for'))),
      },
    ],
  })
}

/** Observes how long each run of a step took, but for those that somebody stopped. */
function stepTimer(metrics: Metrics) {
  const seconds = metrics.histogram('docmesh_analysis_step_seconds')
  return async <T>(step: StepName, { signal }: Step, work: () => Promise<T>, undo = false): Promise<T> => {
    const begun = performance.now()
    const observe = (outcome: 'completed' | 'skipped' | 'failed' | 'compensated'): void =>
      seconds.observe({ step, outcome }, (performance.now() - begun) / 1_000)
    try {
      const result = await work()
      observe(undo ? 'compensated' : result === null ? 'completed' : 'skipped')
      return result
    } catch (error) {
      if (!signal.aborted) observe('failed')
      throw error
    }
  }
}
