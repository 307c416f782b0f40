import type { Logger } from '@docmesh/telemetry'
import type { Dispatch } from './dispatches.ts'
import { execute } from './execution.ts'
import { type ExecutionStore, type Hold, OwnershipLost } from './execution-store.ts'
import type { Observed } from './observe.ts'
import type { Pipeline } from './pipeline.ts'
import { hasEnded } from './run.ts'
import type { RunRow } from './run-rows.ts'

export interface RunnerOptions {
  readonly store: ExecutionStore
  readonly pipelineOf: (row: RunRow) => Pipeline | undefined
  readonly mediansMs: (pipeline: Pipeline) => Promise<ReadonlyMap<string, number>>
  readonly maxBegun: number
  readonly retryDelayMs: (attempt: number) => number
  readonly logger: Logger
  readonly observe: Observed['step']
}

/** The executions of this node. */
export interface Runner {
  /** Of all executions under way, those that have not begun included. */
  claims(): readonly string[]
  /** Whether the run has ended, and the dispatch with it. */
  run(dispatch: Dispatch, claim: string): Promise<boolean>
  /** Somebody steered this run, '' any: if it is not ours any more, its step need not go on either. Never rejects. */
  recheck(runId: string): Promise<void>
  /** Stops all: their runs have gone to other nodes. */
  abandon(): void
  /** `givenBack` resolves when what this node had in hand is somebody else's. Resolves when all is still. */
  leave(givenBack: Promise<void>): Promise<void>
}

export function createRunner({
  store,
  pipelineOf,
  mediansMs,
  maxBegun,
  retryDelayMs,
  logger,
  observe,
}: RunnerOptions): Runner {
  const running = new Map<string, { readonly hold: Hold; readonly stop: AbortController }>()
  const executions = new Map<Promise<boolean>, string>()
  let leaving: Promise<void> | undefined
  /** Times that somebody steered a run. An order that is heard of while its run begins finds nothing to stop yet. */
  let orders = 0

  async function execution(dispatch: Dispatch, claim: string): Promise<boolean> {
    // An execution that ends before its claim is given back would end the dispatch with it.
    if (leaving) return givenAway(leaving)
    const heard = orders
    const begun = await store.begin(dispatch, claim, pipelineOf, maxBegun)
    if (leaving) return givenAway(leaving)
    if (!begun) return false
    const { hold, steps } = begun
    const { id, pipeline } = hold.run
    const own = { hold, stop: new AbortController() }
    const { signal } = own.stop
    running.get(id)?.stop.abort(new OwnershipLost(id))
    running.set(id, own)
    try {
      if (orders > heard) await recheck(id)
      await execute(hold, steps, signal, {
        store,
        mediansMs: () => mediansMs(hold.pipeline),
        retryDelayMs,
        clock: Date.now,
        logger,
        observe,
      })
      return hasEnded(hold.run)
    } catch (error) {
      const lost = signal.aborted || error instanceof OwnershipLost
      // For the steps beside the one that ends it.
      own.stop.abort(error)
      if (lost) return false
      logger.error({ err: error, run_id: id, pipeline }, 'a run stopped; it will be queued again')
      throw error
    } finally {
      if (running.get(id) === own) running.delete(id)
    }
  }

  async function givenAway(away: Promise<void>): Promise<false> {
    await away
    return false
  }

  async function recheck(runId: string): Promise<void> {
    orders++
    const affected = [...running].filter(([id]) => runId === '' || runId === id)
    if (affected.length === 0) return
    try {
      const owners = await store.owners(affected.map(([id]) => id))
      for (const [id, { hold, stop }] of affected)
        if (owners.get(id) !== hold.claim) stop.abort(new OwnershipLost(id))
    } catch (err) {
      logger.warn({ err }, 'cannot look after a change of a run')
    }
  }

  function abandon(): void {
    for (const [id, { stop }] of running) stop.abort(new OwnershipLost(id))
  }

  return {
    claims: () => [...executions.values()],
    async run(dispatch, claim) {
      const job = execution(dispatch, claim)
      executions.set(job, claim)
      return job.finally(() => executions.delete(job))
    },
    recheck,
    abandon,
    async leave(givenBack) {
      leaving = givenBack
      await givenBack
      abandon()
      await Promise.allSettled(executions.keys())
    },
  }
}
