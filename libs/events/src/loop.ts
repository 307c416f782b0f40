export type Loop = {
  /** Ends the pause under way, or skips the next one. */
  wake(): void
  /** Resolves when the step under way has ended. */
  close(): Promise<void>
}

const ERROR_PAUSE_MS = 500

/** Repeats `step`, which says how many milliseconds to rest; after an error it rests half a second, woken or not. */
export const startLoop = (
  step: (signal: AbortSignal) => Promise<number>,
  onError: (error: Error) => void,
): Loop => {
  const closing = new AbortController()
  const { signal } = closing
  let woken = false
  let failed = false
  let endPause = (): void => {}

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref()
      endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      woken = false
      failed = false
      const restMs = await step(signal).catch((error: Error) => {
        failed = true
        if (!signal.aborted) onError(error)
        return ERROR_PAUSE_MS
      })
      if (signal.aborted || restMs <= 0 || (woken && !failed)) continue
      await pause(restMs)
    }
  }

  const running = Promise.resolve().then(run)
  return {
    wake: () => {
      woken = true
      if (!failed) endPause()
    },
    close: () => {
      closing.abort()
      endPause()
      return running
    },
  }
}

/** Milliseconds to wait for a transaction that holds up the log: 1 at first, doubling while it lasts. */
export const settlingPause = (maxMs: number): { next(): number; reset(): void } => {
  let nextMs = 1
  return {
    next: () => {
      const ms = nextMs
      nextMs = Math.min(nextMs * 2, maxMs)
      return ms
    },
    reset: () => {
      nextMs = 1
    },
  }
}
