/** Runs work that gets a signal, and waits no longer than `timeoutMs` for it even if it cannot be stopped. */
export async function within<T>(timeoutMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(timeoutMs)
  const late = Promise.withResolvers<never>()
  const error = new Error(`no end after ${timeoutMs} ms`)
  signal.addEventListener('abort', () => late.reject(error), { once: true })
  return Promise.race([late.promise, work(signal)])
}
