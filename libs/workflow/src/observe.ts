import type { Logger, Metrics } from '@docmesh/telemetry'
import type { OnState } from './execution-store.ts'
import type { JobStore } from './job-store.ts'

export type StepOutcome = 'completed' | 'skipped' | 'failed' | 'compensated'

/** What runs do, told to the metrics of the process; without these nothing is counted and nothing asked. */
export interface Observed {
  readonly onState: OnState
  /** One attempt of one step. */
  step(pipeline: string, step: string, outcome: StepOutcome, ms: number): void
  /** Runs taken over from lost nodes. */
  takeovers(count: number): void
  /** Reads the depths of the queues every few seconds until it is stopped. */
  watch(store: JobStore, queues: readonly string[], logger: Logger): { stop(): void }
}

const DEPTH_MS = 5_000

export function observeWorkflows(metrics: Metrics | undefined): Observed {
  if (!metrics)
    return { onState: () => {}, step: () => {}, takeovers: () => {}, watch: () => ({ stop: () => {} }) }
  const runs = metrics.counter('docmesh_workflow_runs_total')
  const steps = metrics.histogram('docmesh_workflow_step_seconds')
  const takeovers = metrics.counter('docmesh_workflow_takeovers_total')
  const depth = metrics.gauge('docmesh_workflow_queue_depth')
  const dead = metrics.gauge('docmesh_workflow_dead_letters')
  return {
    onState: (pipeline, state) => runs.inc({ pipeline, state }),
    step: (pipeline, step, outcome, ms) => steps.observe({ pipeline, step, outcome }, ms / 1_000),
    takeovers: (count) => takeovers.inc(count),
    watch(store, queues, logger) {
      /** Those that were not empty: when they are, somebody has to say so. */
      const told = new Set(queues)
      const pipelines = new Set<string>()
      const read = async (): Promise<void> => {
        const depths = new Map((await store.depths()).map(({ queue, count }) => [queue, count]))
        for (const queue of depths.keys()) told.add(queue)
        for (const queue of told) depth.set({ queue }, depths.get(queue) ?? 0)
        const letters = new Map((await store.deadLetters()).map(({ pipeline, count }) => [pipeline, count]))
        for (const pipeline of letters.keys()) pipelines.add(pipeline)
        for (const pipeline of pipelines) dead.set({ pipeline }, letters.get(pipeline) ?? 0)
      }
      const tick = (): void =>
        void read().catch((err) => logger.debug({ err }, 'cannot read the depths of the queues'))
      tick()
      const timer = setInterval(tick, DEPTH_MS).unref()
      return { stop: () => clearInterval(timer) }
    },
  }
}
