import { createBackoff } from '@docmesh/resilience'
import type { Logger, Metrics } from '@docmesh/telemetry'
import type { Changes } from './changes.ts'
import type { Pipeline } from './pipeline.ts'
import type { AnalysisStore } from './store.ts'

export interface WorkerOptions {
  readonly store: AnalysisStore
  readonly changes: Changes
  readonly pipeline: Pipeline
  readonly metrics: Metrics
  readonly logger: Logger
  readonly clock: () => Date
  /** Unique for each start of a process. */
  readonly owner: string
  readonly concurrency: number
  readonly leaseMs: number
}

export interface Worker {
  /** Takes no more work, gives what is under way back to the queue, and resolves when all is still. */
  stop(): Promise<void>
}

/** How often to look for work that nobody announced: analyses whose worker is gone. */
const POLL_MS = 500

/**
 * Claims analyses and runs them, a few at a time. The database is the queue: a claim is a lease with a fence, renewed
 * three times in its life; when the process dies, another instance takes over at the end of the lease.
 */
export function startWorker({
  store,
  changes,
  pipeline,
  metrics,
  logger,
  clock,
  owner,
  concurrency,
  leaseMs,
}: WorkerOptions): Worker {
  const ending = new AbortController()
  /** By analysis; one that was lost and claimed again stands here with its latest claim. */
  const running = new Map<string, AbortController>()
  const pollDelayMs = createBackoff({ initialMs: POLL_MS, maxMs: 5_000, jitter: 0.2 }, Math.random)
  const depth = metrics.gauge('docmesh_analysis_queue_depth')
  const jobs = new Set<Promise<void>>()
  let wake = (): void => {}

  async function loop(): Promise<void> {
    for (let failures = 0; !ending.signal.aborted; ) {
      const news = new Promise<void>((resolve) => {
        wake = resolve
      })
      try {
        const found = running.size < concurrency && (await claimOne())
        failures = 0
        if (found) continue
        depth.set(await store.queueDepth())
      } catch (err) {
        failures++
        logger.warn({ err }, 'cannot look for work; trying again')
      }
      await atMost(news, failures === 0 ? POLL_MS : pollDelayMs(failures))
    }
  }

  async function claimOne(): Promise<boolean> {
    const claim = await store.claim(owner, leaseMs, clock())
    if (!claim) return false
    const { id } = claim.analysis
    const lost = new AbortController()
    running.get(id)?.abort(new Error('the claim was lost'))
    running.set(id, lost)
    const job = pipeline(claim, AbortSignal.any([lost.signal, ending.signal]))
      .catch((err) => logger.error({ err, analysis_id: id }, 'analysis was given up; its lease will end'))
      .finally(() => {
        if (running.get(id) === lost) running.delete(id)
        jobs.delete(job)
        wake()
      })
    jobs.add(job)
    return true
  }

  async function renew(): Promise<void> {
    if (running.size === 0) return
    const ids = [...running.keys()]
    const ours = await store.renew(owner, ids, leaseMs)
    for (const id of ids) if (!ours.has(id)) running.get(id)?.abort(new Error('the claim was lost'))
  }

  const tryRenew = (): void =>
    void renew().catch((err) => logger.warn({ err }, 'cannot renew leases; trying again'))
  const renewal = setInterval(tryRenew, leaseMs / 3).unref()
  const unsubscribe = changes.onAny((id) => {
    if (id === '' || running.has(id)) tryRenew() // it may have been cancelled
    wake()
  })
  const looping = loop()

  return {
    async stop() {
      ending.abort(new Error('the instance is ending'))
      unsubscribe()
      wake()
      await looping
      await Promise.allSettled(jobs)
      clearInterval(renewal)
      await store.release(owner)
    },
  }
}

async function atMost(news: Promise<void>, ms: number): Promise<void> {
  const time = Promise.withResolvers<void>()
  const timer = setTimeout(time.resolve, ms).unref()
  await Promise.race([news, time.promise])
  clearTimeout(timer)
}
