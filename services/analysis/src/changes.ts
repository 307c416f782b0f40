import type { Listener } from '@docmesh/postgres'

/** Tells waiters of this process that something changed, whichever instance changed it. */
export interface Changes {
  subscribe(id: string): Subscription
  close(): Promise<void>
}

export interface Subscription extends Disposable {
  /** Resolves at the next change, or when `signal` aborts. Ask before reading the state, or a change may slip between. */
  next(signal: AbortSignal): Promise<void>
}

interface Source {
  /** Calls back with the id of what changed; '' when some may have been missed. */
  onChange(listener: (id: string) => void): Promise<Listener>
}

export async function openChanges(source: Source): Promise<Changes> {
  const waiting = new Map<string, Set<() => void>>()
  const connection = await source.onChange((id) => {
    for (const each of id === '' ? waiting.keys() : [id]) for (const wake of waiting.get(each) ?? []) wake()
  })
  return {
    subscribe(id) {
      const own = waiting.get(id) ?? new Set()
      waiting.set(id, own)
      let wake = (): void => {}
      const notify = (): void => wake()
      own.add(notify)
      return {
        next(signal) {
          wake() // nobody waits any more for the one asked for before
          return new Promise((resolve) => {
            wake = () => {
              signal.removeEventListener('abort', wake)
              resolve()
            }
            signal.addEventListener('abort', wake)
            if (signal.aborted) wake()
          })
        },
        [Symbol.dispose]() {
          wake()
          own.delete(notify)
          if (own.size === 0 && waiting.get(id) === own) waiting.delete(id)
        },
      }
    },
    close: () => connection.close(),
  }
}
