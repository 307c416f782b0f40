import type { Logger, Metrics } from '@docmesh/telemetry'
import type { AnalysisStore } from './store.ts'

const OBSERVE_MS = 5_000

/** Counts the analyses that wait, every five seconds. */
export function observeQueueDepth(
  store: Pick<AnalysisStore, 'queueDepth'>,
  { metrics, logger }: { metrics: Metrics; logger: Logger },
): { close(): void } {
  const depth = metrics.gauge('docmesh_analysis_queue_depth')
  const observe = (): void =>
    void store.queueDepth().then(
      (waiting) => depth.set(waiting),
      (err) => logger.warn({ err }, 'cannot count what waits; trying again'),
    )
  observe()
  const timer = setInterval(observe, OBSERVE_MS).unref()
  return { close: () => clearInterval(timer) }
}
