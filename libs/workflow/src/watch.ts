import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseUnavailable } from '@docmesh/postgres'
import type { Changes } from './changes.ts'
import { hasEnded, type Run } from './run.ts'
import type { RunStore } from './run-store.ts'

/** The run now and after every change, until it has ended or `signal` aborts. */
export async function* watchRun(
  id: string,
  signal: AbortSignal,
  runs: RunStore,
  changes: Changes,
): AsyncIterable<Run> {
  let wake = (): void => {}
  const unsubscribe = changes.subscribe(id, () => wake())
  const stop = (): void => wake()
  signal.addEventListener('abort', stop)
  try {
    while (!signal.aborted) {
      // Asked for before reading, or a change could slip between.
      const changed = new Promise<void>((resolve) => {
        wake = resolve
      })
      const run = await patiently(() => runs.get(id), signal)
      if (!run) return
      yield run
      if (hasEnded(run) || signal.aborted) return
      await changed
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
    unsubscribe()
  }
}

const PATIENCE_MS = 5_000

/** A database that is away for a moment ends no watch. */
async function patiently<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const deadlineMs = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable) || performance.now() > deadlineMs) throw error
      await delay(200, undefined, { signal })
    }
  }
}
