/**
 * Waits for `work`, but no longer than until `signal` aborts: then rejects with the signal's reason at once.
 *
 * For work that cannot be cancelled or may be slow to notice. Work left behind goes on unobserved, and its rejection is
 * not reported as unhandled.
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
