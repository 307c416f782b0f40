import { type Analysis, hasEnded, STEPS } from './analysis.ts'
import type { AnalysisStore } from './store.ts'

/** Time left, from what the latest analyses took. */
export interface Estimates {
  /**
   * Milliseconds until it ends; undefined without history, and when nobody can tell. `queuePosition`: how many wait
   * before it, itself included. Answers from memory: events are written inside of transactions, where nobody may wait
   * for a second connection.
   */
  remainingMs(analysis: Analysis, queuePosition: number): number | undefined
}

const FRESH_MS = 10_000

/** `concurrency`: analyses that this instance runs at once; waits are estimated as if it were the only one. */
export async function openEstimates(
  store: Pick<AnalysisStore, 'stepMedians'>,
  { concurrency, clock, freshMs = FRESH_MS }: { concurrency: number; clock: () => Date; freshMs?: number },
): Promise<Estimates> {
  let medians = await store.stepMedians()
  let readAt = clock().getTime()

  function refresh(now: number): void {
    if (now - readAt < freshMs) return
    readAt = now
    // What is not known anew stays as it was: an estimate is worth no failure.
    store.stepMedians().then(
      (fresh) => {
        medians = fresh
      },
      () => {},
    )
  }

  return {
    remainingMs(analysis, queuePosition) {
      const now = clock().getTime()
      refresh(now)
      if (hasEnded(analysis) || analysis.state === 'paused' || medians.size === 0) return undefined
      const whole = STEPS.reduce((sum, name) => sum + (medians.get(name) ?? 0), 0)
      const ownMs = STEPS.reduce((sum, name) => {
        const step = analysis.steps.find((each) => each.name === name)
        if (step?.state === 'completed' || step?.state === 'skipped') return sum
        const begunMs = step?.state === 'running' && step.startedAt ? Date.parse(step.startedAt) : now
        return sum + Math.max(0, (medians.get(name) ?? 0) - Math.max(0, now - begunMs))
      }, 0)
      return ownMs + (whole * Math.max(0, queuePosition - 1)) / concurrency
    },
  }
}
