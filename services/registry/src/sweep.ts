import type { Registry } from './registry.ts'

const SWEEP_MS = 250

/** `onSwept` is called after each time. */
export function startSweeping(registry: Registry, onSwept: () => void = () => {}): { close(): void } {
  const sweep = (): void => {
    registry.sweep()
    onSwept()
  }
  const timer = setInterval(sweep, SWEEP_MS).unref()
  return { close: () => clearInterval(timer) }
}
