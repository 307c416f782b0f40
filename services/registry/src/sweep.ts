import type { Registry } from './registry.ts'

const SWEEP_MS = 250

export function startSweeping(registry: Registry): { close(): void } {
  const timer = setInterval(() => registry.sweep(), SWEEP_MS).unref()
  return { close: () => clearInterval(timer) }
}
