import { AnalysisCancelled, AnalysisQueued } from '@docmesh/contracts/analysis/v1/events'
import type { Publish } from '@docmesh/events'
import type { Queryable } from '@docmesh/postgres'
import { type RpcError, rpcError } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Run, Steered, Workflows } from '@docmesh/workflow'
import { type Analysis, type Caller, hasEnded } from './analysis.ts'
import { orderOptions, queuedEvent } from './analysis-events.ts'
import type { AnalysisPipeline } from './analysis-pipeline.ts'
import type { OnEnded } from './analysis-run-view.ts'
import type { Estimates } from './estimates.ts'
import type { AnalysisStore } from './store.ts'

/** What a user may tell an analysis to do. An order that is repeated with its request id changes nothing more. */
export interface Orders {
  /** Throws ANALYSIS_ENDED. */
  pause(id: string, requestId: string, caller: Caller): Promise<Analysis>
  /** Throws ANALYSIS_NOT_PAUSED. */
  resume(id: string, requestId: string, caller: Caller): Promise<Analysis>
  /** Throws ANALYSIS_ENDED when it did not fail. */
  retry(id: string, requestId: string, caller: Caller): Promise<Analysis>
  /** One that has ended is left as it is. */
  cancel(id: string, reason: string, caller: Caller): Promise<Analysis>
  /** The same in the caller's transaction, which has the lock of the run from then on. Throws ANALYSIS_NOT_FOUND. */
  cancelIn(tx: Queryable, id: string, reason: string, caller: Caller): Promise<Analysis>
}

export interface OrdersDeps {
  readonly store: AnalysisStore
  readonly workflows: Workflows
  readonly pipeline: AnalysisPipeline
  readonly estimates: Estimates
  readonly publish: Publish
  readonly metrics: Metrics
  readonly clock: () => Date
  readonly onEnded: OnEnded
  /** Throws ANALYSIS_NOT_FOUND. */
  readonly find: (on: Queryable, id: string, caller: Pick<Caller, 'tenantId'>) => Promise<Analysis>
}

export function createOrders({
  store,
  workflows,
  pipeline,
  estimates,
  publish,
  metrics,
  clock,
  onEnded,
  find,
}: OrdersDeps): Orders {
  const durations = metrics.histogram('docmesh_analysis_duration_seconds')

  /** Carries out an order unless that was done before. */
  async function ordered(
    order: string,
    id: string,
    requestId: string,
    caller: Caller,
    carryOut: (tx: Queryable, analysis: Analysis) => Promise<Steered>,
  ): Promise<Analysis> {
    const before = await find(store, id, caller)
    return store.transaction(async (tx) => {
      if (await store.order(tx, id, requestId && `${order}/${requestId}`)) {
        const steered = await carryOut(tx, before)
        if (steered?.changed && steered.run.state === 'queued') await tellQueued(tx, id, caller)
      }
      return find(tx, id, caller)
    })
  }

  async function tellQueued(tx: Queryable, id: string, caller: Caller): Promise<void> {
    const analysis = await find(tx, id, caller)
    const position = await store.queuePosition(tx, id)
    const event = queuedEvent(analysis, position, estimates.remainingMs(analysis, position))
    await publish(tx, AnalysisQueued, event, orderOptions(id, caller))
  }

  async function cancelIn(tx: Queryable, id: string, reason: string, caller: Caller): Promise<Analysis> {
    const before = await find(tx, id, caller)
    const steered = await workflows.cancel(id, tx)
    if (!steered?.changed) return find(tx, id, caller)
    const analysis = (await store.cancel(tx, id, reason, clock())) ?? before
    const { documentId, createdAt } = analysis
    await publish(tx, AnalysisCancelled, { analysisId: id, documentId, reason }, orderOptions(id, caller))
    durations.observe({ outcome: 'cancelled' }, Math.max(0, clock().getTime() - createdAt.getTime()) / 1_000)
    await onEnded(tx, analysis)
    return analysis
  }

  return {
    pause: (id, requestId, caller) =>
      ordered('pause', id, requestId, caller, async (tx, before) => {
        const steered = await workflows.pause(id, tx)
        if (steered?.run.state === 'paused') return steered
        throw ended(id, steered?.run ?? before, 'it cannot be paused')
      }),
    resume: (id, requestId, caller) =>
      ordered('resume', id, requestId, caller, async (tx, before) => {
        const steered = await workflows.resume(id, tx)
        if (steered?.changed) return steered
        const { state } = steered?.run ?? before
        throw rpcError(
          'ANALYSIS_NOT_PAUSED',
          `Analysis "${id}" is ${state}: only a paused one can be resumed.`,
        )
      }),
    retry: (id, requestId, caller) =>
      ordered('retry', id, requestId, caller, async (tx, before) => {
        const { tenantId: tenant, options } = before
        const only = 'only a failed one can be retried'
        if (hasEnded(before) && before.state !== 'failed') throw ended(id, before, only)
        const steered = await workflows.retry(id, tx)
        if (!steered) {
          // Its run is not kept any more, or it failed before there were runs.
          const { run, existed } = await workflows.start(pipeline, null, {
            id,
            tenant,
            priority: options.priority,
            tx,
          })
          return { run, changed: !existed }
        }
        if (steered.run.state === 'dead') return workflows.redrive(id, tx)
        const { state } = steered.run
        if (state === 'completed' || state === 'cancelled') throw ended(id, steered.run, only)
        return steered
      }),
    cancel: (id, reason, caller) => store.transaction((tx) => cancelIn(tx, id, reason, caller)),
    cancelIn,
  }
}

const ended = (id: string, { state }: Pick<Analysis | Run, 'state'>, consequence: string): RpcError =>
  rpcError('ANALYSIS_ENDED', `Analysis "${id}" is ${state}: ${consequence}.`)
