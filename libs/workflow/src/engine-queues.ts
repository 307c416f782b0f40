import { randomUUID } from 'node:crypto'
import type { WorkflowQueue } from '@dbos-inc/dbos-sdk'
import { runWithAbortableDbRetries } from '@dbos-inc/dbos-sdk/internal/context'
import type { DBOSExecutor } from '@dbos-inc/dbos-sdk/internal/dbos-executor'
import type { Logger } from '@docmesh/telemetry'
import { keepPolling } from './polling.ts'

export interface ServedQueues {
  /** There may be work in this queue, '' any. */
  wake(name: string): void
  /** Takes no more work. */
  stop(): Promise<void>
}

/** serialization_failure, lock_not_available: another node claims the same rows. */
const COLLISIONS = new Set(['40001', '55P03'])

/**
 * Takes work from the queues of the engine, by its claims. Its own loop looks every so often and cannot be woken: a place
 * that becomes free would stay empty until then.
 */
export function serveQueues(
  executor: DBOSExecutor,
  queues: readonly WorkflowQueue[],
  { appVersion, logger, random }: { appVersion: string; logger: Logger; random: () => number },
): ServedQueues {
  const { systemDatabase, executorID } = executor
  const stopping = new AbortController()

  async function fill(queue: WorkflowQueue): Promise<void> {
    const { name, workerConcurrency = Infinity, partitionWorkerConcurrency: perTenant } = queue
    // Asked once: what is claimed here begins meanwhile, and would count twice.
    const running = systemDatabase.countRunningWorkflowsForQueue(name)
    // Who ends wakes us.
    if (running >= workerConcurrency) return
    const tenants =
      perTenant === undefined ? [undefined] : shuffled(await systemDatabase.getQueuePartitions(name), random)
    let claimed = 0
    for (const tenant of tenants) {
      const ofTenant = systemDatabase.countRunningWorkflowsForPartition(name, tenant)
      if (ofTenant >= (perTenant ?? Infinity)) continue
      if (running + claimed >= workerConcurrency || stopping.signal.aborted) return
      const claim = randomUUID()
      const ids = await systemDatabase.findAndMarkStartableWorkflows(
        queue,
        executorID,
        appVersion,
        tenant,
        running + claimed,
        ofTenant,
        claim,
      )
      claimed += ids.length
      await executor.dispatchDequeuedWorkflows(ids, claim)
    }
  }

  /** Whether it got in the way of another node, or of none because the database is away. */
  async function look(queue: WorkflowQueue): Promise<boolean> {
    try {
      await runWithAbortableDbRetries(stopping.signal, () => fill(queue))
      return false
    } catch (err) {
      if (!COLLISIONS.has((err as { code?: string }).code ?? ''))
        logger.warn({ err, queue: queue.name }, 'cannot look for work; trying again')
      return true
    }
  }

  const pollings = new Map(
    queues.map((queue) => [
      queue.name,
      keepPolling(() => look(queue), { intervalMs: queue.minPollingIntervalMs ?? 1_000, random }),
    ]),
  )
  function wake(name: string): void {
    for (const [queue, polling] of pollings) if (name === '' || name === queue) polling.wake()
  }

  const track = systemDatabase.trackRunningWorkflow.bind(systemDatabase)
  systemDatabase.trackRunningWorkflow = (id, place, execution) => {
    track(id, place, execution)
    void place.promise.then(() => wake(place.queueName ?? ''))
  }

  return {
    wake,
    async stop() {
      stopping.abort()
      await Promise.all([...pollings.values()].map((polling) => polling.stop()))
    },
  }
}

/** Fisher–Yates. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[order[last], order[other]] = [order[other] as T, order[last] as T]
  }
  return order
}
