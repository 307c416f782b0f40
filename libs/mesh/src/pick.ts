import type { FailureKind } from '@docmesh/resilience'
import type { Endpoint } from './endpoint.ts'

/** How a call to an endpoint ended, as far as choosing endpoints cares. `NONE`: nobody can tell. */
export type Outcome = 'SUCCESS' | FailureKind | 'NONE'

export interface PickOptions {
  /** Instances that are chosen only when there is no other one: those that this call has tried. */
  readonly avoid?: ReadonlySet<string>
  /** Only endpoints of this version; default all. */
  readonly version?: string
  /** Calls with the same key go to the same endpoint while it is ready, from every client. */
  readonly hashKey?: string
  /**
   * Whether this call may find out if an ejected endpoint works again. Default true. False protects a call that cannot be
   * repeated: it probes only when no other call has come for twice the time of the ejection.
   */
  readonly mayProbe?: boolean
}

export type PickReason = 'least_cost' | 'only' | 'sticky' | 'panic' | 'probe'

export interface Pick {
  readonly endpoint: Endpoint
  readonly reason: PickReason
  /** What the choice went by, in milliseconds: the expected time of a call × those before it. */
  readonly costMs: number
  /** The endpoint that was compared and not chosen, if there was one. */
  readonly loser: Endpoint | undefined
  readonly loserCostMs: number
  /** To be called exactly once, when the call has ended. `pushbackMs` is the server's wish for the next attempt. */
  done(outcome: Outcome, pushbackMs?: number): void
}

/** Why there is no endpoint: none takes calls, or each has as many as it may have. */
export type NoPick = 'no_endpoint' | 'saturated'
