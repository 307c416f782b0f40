/**
 * Resolves after `ms`, or as soon as `signal` aborts. Keeps the process alive until then only if somebody's work waits
 * for it (`isWork`): a program whose one call is between two attempts must not end there.
 */
export function abortable(ms: number, signal: AbortSignal, { isWork = false } = {}): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    if (!isWork) timer.unref()
    signal.addEventListener('abort', end, { once: true })
  })
}
