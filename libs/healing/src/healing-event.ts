import type { Outcome } from './recovery.ts'

/** What happens, as it happens. */
export type HealingEvent =
  /** A check that passed fails now, or passes again. */
  | { readonly kind: 'checked'; readonly check: string; readonly healthy: boolean; readonly detail: string }
  /** An action begins. */
  | {
      readonly kind: 'started'
      readonly recoveryId: string
      readonly check: string
      readonly action: string
    }
  /** A recovery has ended; unless it succeeded, people have to look. */
  | {
      readonly kind: 'completed'
      readonly recoveryId: string
      readonly check: string
      readonly succeeded: boolean
      readonly detail: string
    }

export interface Recovery {
  readonly id: string
  readonly check: string
  /** Names of the actions in the order in which they began. */
  readonly actions: readonly string[]
  /** Milliseconds of the clock. */
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly outcome: Outcome
}
