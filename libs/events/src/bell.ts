/** Ends the rest of somebody who waits for news. */
export type Bell = {
  ring(): void
  /** Resolves after `ms`, when `signal` aborts, or at a ring, also one since the last rest; true if it was a ring. */
  rest(ms: number, signal: AbortSignal): Promise<boolean>
}

export const createBell = (): Bell => {
  let rung = false
  let end = (): void => {}
  return {
    ring: () => {
      rung = true
      end()
    },
    rest: async (ms, signal) => {
      if (!rung && !signal.aborted)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(() => end(), ms).unref()
          end = () => {
            clearTimeout(timer)
            signal.removeEventListener('abort', end)
            resolve()
          }
          signal.addEventListener('abort', end)
        })
      const was = rung
      rung = false
      return was
    },
  }
}
