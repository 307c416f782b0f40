import type { Publish } from '@docmesh/events'
import type { Postgres } from '@docmesh/postgres'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { createWorkflows, type Workflows, type WorkflowsOptions } from '@docmesh/workflow'
import { type Analyses, createAnalyses } from './analyses.ts'
import { analysisQueues, createAnalysisPipeline } from './analysis-pipeline.ts'
import type { OnEnded } from './analysis-run-view.ts'
import { type Batches, createBatches } from './batch/batches.ts'
import { batchStore } from './batch/store.ts'
import { openChanges } from './changes.ts'
import type { Documents } from './documents.ts'
import { openEstimates } from './estimates.ts'
import { publishJobs } from './job/events.ts'
import { type AnalysisStarter, analysisJobTypes } from './job/types.ts'
import type { Packs } from './packs.ts'
import type { AnalysisStore } from './store.ts'
import type { Texts } from './texts.ts'

export interface EngineDeps {
  readonly db: Postgres
  readonly store: AnalysisStore
  readonly documents: Documents
  readonly texts: Texts
  readonly packs: Packs
  readonly publish: Publish
  readonly metrics: Metrics
  readonly logger: Logger
  readonly clock: () => Date
  readonly ids: () => string
  /** Analyses that this instance runs at once. */
  readonly concurrency: number
  /** Default `createWorkflows`; a process has only one of them. */
  readonly openWorkflows?: (options: WorkflowsOptions) => Promise<Workflows>
}

export interface Engine {
  readonly analyses: Analyses
  readonly batches: Batches
  readonly workflows: Workflows
  /** Gives what is under way to other instances. */
  stop(): Promise<void>
  close(): Promise<void>
}

/** Another one when runs under way would not survive a change of the pipeline. */
const RUNS_VERSION = '1'

const SWEEP_MS = 60 * 60 * 1_000

/** Analyses, batches and jobs, and the workflows that run them: each needs one of the others, so they come up together. */
export async function openEngine({
  db,
  logger,
  texts,
  concurrency,
  ids,
  openWorkflows = createWorkflows,
  ...deps
}: EngineDeps): Promise<Engine> {
  const { store, metrics, publish, packs, clock } = deps
  const changes = await openChanges(store)
  const ofBatches = batchStore(db)
  const batchChanges = await openChanges(ofBatches)
  const estimates = await openEstimates(store, { concurrency, clock })
  // Runs go on as soon as there are workflows, before those are there who want to hear of their ends or start others.
  const ended = Promise.withResolvers<OnEnded>()
  const starter = Promise.withResolvers<AnalysisStarter>()
  const onEnded: OnEnded = async (tx, analysis) => (await ended.promise)(tx, analysis)
  const shared = { ...deps, estimates, onEnded }
  const pipeline = createAnalysisPipeline({ ...shared, texts, logger })
  const workflows = await openWorkflows({
    db,
    pipelines: [pipeline],
    jobs: analysisJobTypes(starter.promise),
    onJob: publishJobs(publish),
    applicationVersion: RUNS_VERSION,
    queues: analysisQueues(concurrency),
    logger,
    metrics,
    clock,
    ids,
  })
  const analyses = createAnalyses({ ...shared, changes, workflows, pipeline, ids })
  const batches = createBatches({
    store: ofBatches,
    changes: batchChanges,
    analyses,
    packs,
    publish,
    clock,
    ids,
  })
  ended.resolve(batches.onEnded)
  starter.resolve(analyses)
  const sweep = (): Promise<void> =>
    batches
      .sweep()
      .catch((err) => logger.warn({ err }, 'cannot remove unfinished batches; trying again in an hour'))
  const sweeping = setInterval(sweep, SWEEP_MS).unref()
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= workflows.stop()
    return stopped
  }
  return {
    analyses,
    batches,
    workflows,
    stop,
    async close() {
      clearInterval(sweeping)
      await stop()
      await batchChanges.close()
      await changes.close()
    },
  }
}
