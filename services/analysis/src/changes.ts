import type { AnalysisStore } from './store.ts'

/** Tells waiters of this process that an analysis changed, whichever instance changed it. */
export interface Changes {
  subscribe(id: string): Subscription
  /** Called for every change; '' when some may have been missed. */
  onAny(listener: (id: string) => void): () => void
  close(): Promise<void>
}

export interface Subscription extends Disposable {
  /** Resolves at the next change, or when `signal` aborts. Ask before reading the state, or a change may slip between. */
  next(signal: AbortSignal): Promise<void>
}

export async function openChanges(store: AnalysisStore): Promise<Changes> {
  const waiting = new Map<string, Set<() => void>>()
  const listeners = new Set<(id: string) => void>()
  const wake = (id: string): void => {
    for (const resolve of waiting.get(id) ?? []) resolve()
  }
  const connection = await store.onChange((id) => {
    for (const listener of listeners) listener(id)
    if (id) wake(id)
    else for (const each of waiting.keys()) wake(each)
  })
  return {
    subscribe(id) {
      const own = waiting.get(id) ?? new Set()
      waiting.set(id, own)
      let resolveNext = (): void => {}
      const notify = (): void => resolveNext()
      own.add(notify)
      return {
        next(signal) {
          return new Promise((resolve) => {
            resolveNext = resolve
            signal.addEventListener('abort', () => resolve(), { once: true })
          })
        },
        [Symbol.dispose]() {
          own.delete(notify)
          if (own.size === 0 && waiting.get(id) === own) waiting.delete(id)
        },
      }
    },
    onAny(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => connection.close(),
  }
}
