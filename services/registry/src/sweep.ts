import type { Registry } from './registry.ts'

const SWEEP_MS = 250

/**
 * `onSwept` is called after each time. Timers come before what sockets have brought: after a long pause of the process the
 * heartbeats that were sent meanwhile get one interval to be read, else leases would end that were renewed in time.
 */
export function startSweeping(registry: Registry, onSwept: () => void = () => {}): { close(): void } {
  let lookedAt = performance.now()
  let wasLate = false
  const sweep = (): void => {
    const now = performance.now()
    const isLate = now - lookedAt > 2 * SWEEP_MS
    lookedAt = now
    wasLate = isLate && !wasLate // twice in a row is no pause, but a process that is always late
    if (!wasLate) registry.sweep()
    onSwept()
  }
  const timer = setInterval(sweep, SWEEP_MS).unref()
  return { close: () => clearInterval(timer) }
}
