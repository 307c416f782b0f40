/** Lets one waiter sleep until there may be something to do. A ring while it is awake is kept for its next rest. */
export interface Bell {
  ring(): void
  /** Resolves at a ring, after `ms`, or when the signal aborts; never rejects. */
  rest(signal: AbortSignal, ms?: number): Promise<void>
}

export function createBell(): Bell {
  let rung = false
  let wake = (): void => {}
  return {
    ring() {
      rung = true
      wake()
    },
    async rest(signal, ms) {
      if (!rung && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>()
        wake = resolve
        const timer = ms === undefined ? undefined : setTimeout(resolve, ms).unref()
        const onAbort = () => resolve()
        signal.addEventListener('abort', onAbort, { once: true })
        await promise
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
      }
      rung = false
    },
  }
}
