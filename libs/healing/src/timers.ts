/** Calls `fn` once after `ms`, unless the answer is called first. */
export type After = (ms: number, fn: () => void) => () => void

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, after: After, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const abort = (): void => {
      cancel()
      reject(signal.reason)
    }
    const cancel = after(ms, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    signal.addEventListener('abort', abort, { once: true })
  })
}

/**
 * Gives `work` a signal and no more than `ms`: rejects when the time is over or `outer` aborts, whether `work` heeds its
 * signal or not. Work left behind goes on unobserved.
 */
export function within<T>(
  ms: number,
  after: After,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (outer.aborted) return reject(outer.reason)
    const own = new AbortController()
    const settle = (): void => {
      cancel()
      outer.removeEventListener('abort', abort)
    }
    const end = (reason: unknown): void => {
      settle()
      own.abort(reason)
      reject(reason)
    }
    const abort = (): void => end(outer.reason)
    outer.addEventListener('abort', abort, { once: true })
    const cancel = after(ms, () => end(new Error(`no answer within ${ms} ms`)))
    attempt(work, own.signal).then(resolve, reject).finally(settle)
  })
}

async function attempt<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  return await work(signal)
}
