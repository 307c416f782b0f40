import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseUnavailable } from '@docmesh/postgres'

const PATIENCE_MS = 5_000
const PATIENCE_STEP_MS = 200

/** Reads for a watch, which a database that is away for a moment does not end. */
export async function patiently<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const deadlineMs = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable) || performance.now() > deadlineMs) throw error
      await delay(PATIENCE_STEP_MS, undefined, { signal })
    }
  }
}
