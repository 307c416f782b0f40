/** Looks again and again whether there is something to do. */
export interface Polling {
  /** There may be something now. */
  wake(): void
  /** Resolves when a look that is under way has ended; there is none after it. */
  stop(): Promise<void>
}

/** What wakes it within this time leads to one look together. */
const GAP_MS = 5
const COLLISION_MS = 50

/**
 * Looks when it is woken, or else after `intervalMs`, never twice at once.
 *
 * @param look whether it got in the way of others; then the next one comes after a pause, or they would meet again. What it
 *   throws ends the polling.
 */
export function keepPolling(
  look: () => Promise<boolean>,
  { intervalMs, random }: { intervalMs: number; random: () => number },
): Polling {
  const stopping = new AbortController()
  let woken = false
  let rouse = (): void => {}

  const rest = (ms: number, mayBeWoken: boolean): Promise<void> =>
    new Promise((resolve) => {
      if (stopping.signal.aborted) return resolve()
      const end = (): void => {
        clearTimeout(timer)
        stopping.signal.removeEventListener('abort', end)
        rouse = () => {}
        resolve()
      }
      const timer = setTimeout(end, ms)
      stopping.signal.addEventListener('abort', end)
      if (mayBeWoken) rouse = end
    })

  async function poll(): Promise<void> {
    while (!stopping.signal.aborted) {
      woken = false
      const collided = await look()
      if (stopping.signal.aborted) return
      // Half to one and a half: nodes that met once shall not meet for ever.
      await rest(collided ? COLLISION_MS * (0.5 + random()) : GAP_MS, false)
      if (!woken) await rest(intervalMs, true)
    }
  }
  const ended = poll()

  return {
    wake() {
      woken = true
      rouse()
    },
    stop() {
      stopping.abort()
      return ended
    },
  }
}
