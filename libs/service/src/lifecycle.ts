import { LifecycleState } from '@docmesh/contracts/ops/v1/diagnostics'

export interface Transition {
  readonly state: LifecycleState
  readonly at: Date
  readonly reason: string
}

/** Where the process is in its life and how it came there, newest `limit` transitions. */
export interface Lifecycle {
  enter(state: LifecycleState, reason: string): void
  state(): LifecycleState
  history(): readonly Transition[]
}

export function createLifecycle(now: () => Date, limit = 1_000): Lifecycle {
  const history: Transition[] = [{ state: LifecycleState.INITIALIZING, at: now(), reason: 'process started' }]
  return {
    enter(state, reason) {
      history.push({ state, at: now(), reason })
      if (history.length > limit) history.shift()
    },
    state: () => history.at(-1)?.state ?? LifecycleState.INITIALIZING,
    history: () => history,
  }
}
