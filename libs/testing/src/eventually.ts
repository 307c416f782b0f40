import { setTimeout as delay } from 'node:timers/promises'

export type EventuallyOptions = {
  /** Default 10 000. */
  timeoutMs?: number
  /** Default 20. */
  intervalMs?: number
}

/** For tests against real servers: repeats `fn` until it stops throwing; its last error is the failure. */
export const eventually = async <T>(
  fn: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 20 }: EventuallyOptions = {},
): Promise<T> => {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await fn()
    } catch (error) {
      if (performance.now() >= deadline) throw error
    }
    await delay(intervalMs)
  }
}
