import type { Pipeline } from './pipeline.ts'
import { stepsToUndo, withDescendants } from './plan.ts'
import type { StepRow } from './run-rows.ts'
import type { Transition } from './run-store.ts'

/** What each order does to a run in each state. Where it does nothing, the run is left as it is. */

/** An effect that committed before its step was done counts: it has to be taken back as well. */
export const tookEffect = ({ state, affected }: StepRow): boolean =>
  state === 'completed' || (affected && state !== 'undone')

export const cancel =
  (pipeline: Pipeline | undefined): Transition =>
  ({ state }, steps) => {
    if (state !== 'queued' && state !== 'running' && state !== 'paused') return undefined
    const done = new Set(steps.filter(tookEffect).map(({ name }) => name))
    // Of a pipeline that this node does not know, those who know it see whether there is anything to take back.
    const undo = pipeline ? stepsToUndo(pipeline.steps, done) : [...done]
    return undo.length > 0 ? { state: 'compensating', outcome: 'cancelled' } : { state: 'cancelled' }
  }

export const pause: Transition = ({ state }) =>
  state === 'queued' || state === 'running' ? { state: 'paused' } : undefined

export const resume: Transition = ({ state }) => (state === 'paused' ? { state: 'queued' } : undefined)

/** A dead run goes on from where it died: also when that was on its way back. */
export const redrive =
  (pipeline: Pipeline | undefined): Transition =>
  (row, steps) =>
    row.state === 'dead' && row.outcome ? { state: 'compensating' } : retry(pipeline, 'dead')(row, steps)

/** From the failed step, and from what was taken back, with all that builds on either. */
export const retry =
  (pipeline: Pipeline | undefined, from: 'failed' | 'dead' = 'failed'): Transition =>
  ({ state, failure }, steps) => {
    if (state !== from) return undefined
    const again = steps
      .filter((step) => step.state !== 'completed' && step.state !== 'skipped')
      .map(({ name }) => name)
    if (failure?.step) again.push(failure.step)
    return { state: 'queued', redo: withDescendants(pipeline?.steps ?? [], again) }
  }

/** Steps whose results a fork takes over: all but `fromStep` and what builds on it; none without `fromStep`. */
export function stepsToCopy(pipeline: Pipeline, fromStep: string | undefined): Set<string> {
  if (fromStep === undefined) return new Set()
  const anew = withDescendants(pipeline.steps, [fromStep])
  return new Set(pipeline.steps.map(({ name }) => name).filter((name) => !anew.has(name)))
}
