import { createHealing, type HealingOptions } from './healing.ts'
import type { HealingEvent } from './healing-event.ts'
import type { RecoveryAction } from './recovery-action.ts'

/** Lets everything that waits for no time run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Clock {
  now(): number
  advance(ms: number): void
  setTimeout(fn: () => void, delayMs: number): { clear(): void }
}

/** A healing on virtual time whose events and actions are kept with the time at which they happened. */
export function healingWorld<C extends Clock>(clock: C, options: Partial<HealingOptions> = {}) {
  const events: (HealingEvent & { readonly atMs: number })[] = []
  let ids = 0
  const healing = createHealing(
    { actions: [], strategies: [], settleMs: 1_000, verifyMs: 3_000, ...options },
    {
      now: clock.now,
      after: (ms, fn) => clock.setTimeout(fn, ms).clear,
      random: () => 0.5,
      ids: () => `r${++ids}`,
      onEvent: (event) => events.push({ ...event, atMs: clock.now() }),
    },
  )
  return {
    healing,
    clock,
    events,
    /** `checked health/a failing`, `started health/a restart`, `completed health/a healed`. */
    told: () => events.map(words),
    /** Moves time in steps of `stepMs`, and lets what falls due happen at each. */
    async advance(ms: number, stepMs = 500): Promise<void> {
      await turn()
      for (let left = ms; left > 0; left -= stepMs) {
        clock.advance(Math.min(left, stepMs))
        await turn()
      }
    },
  }
}

function words(event: HealingEvent): string {
  switch (event.kind) {
    case 'checked':
      return `checked ${event.check} ${event.healthy ? 'passing' : 'failing'}`
    case 'started':
      return `started ${event.check} ${event.action}`
    case 'completed':
      return `completed ${event.check} ${event.succeeded ? 'healed' : 'escalated'}`
  }
}

/** An action that does `work`. */
export const doing = (
  name: string,
  work: (target: string, signal: AbortSignal) => unknown,
  more: Partial<RecoveryAction> = {},
): RecoveryAction => ({
  name,
  async execute(target, signal) {
    await work(target, signal)
    return `${name} done`
  },
  ...more,
})
