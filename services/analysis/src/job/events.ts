import { JobCompleted, JobFailed, JobQueued, JobRetrying, JobStarted } from '@docmesh/contracts/ops/v1/events'
import type { Publish } from '@docmesh/events'
import type { WorkflowsOptions } from '@docmesh/workflow'

/** Publishes what happens to jobs, in the transaction in which it happens. */
export const publishJobs =
  (publish: Publish): NonNullable<WorkflowsOptions['onJob']> =>
  async (tx, { id: jobId, type, priority, tenant: tenantId, requestedBy: userId }, event) => {
    const options = { aggregateType: 'job', aggregateId: jobId, correlationId: jobId, tenantId, userId }
    switch (event.kind) {
      case 'queued': {
        const queueSize = BigInt(event.waiting)
        await publish(tx, JobQueued, { jobId, type, priority, queueSize }, options)
        break
      }
      case 'started':
        await publish(tx, JobStarted, { jobId, type, attempt: event.attempt }, options)
        break
      case 'retrying': {
        const { attempt, error } = event
        const delayMs = BigInt(Math.round(event.delayMs))
        await publish(tx, JobRetrying, { jobId, type, attempt, delayMs, error }, options)
        break
      }
      case 'completed': {
        const durationMs = BigInt(Math.round(event.durationMs))
        await publish(tx, JobCompleted, { jobId, type, durationMs }, options)
        break
      }
      case 'failed': {
        const { attempts, error } = event
        await publish(tx, JobFailed, { jobId, type, attempts, error }, options)
        break
      }
    }
  }
