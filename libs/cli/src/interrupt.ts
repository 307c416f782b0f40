export interface Interrupt {
  readonly signal: AbortSignal
  /** Called for everything that asks the process to end, such as a signal of the system. `reason` is that of our signal. */
  ask(name: string, reason?: Error): void
  /** Adds what an insisting ask does, before what was added earlier. */
  onInsist(fn: () => void): void
}

/**
 * The first ask aborts, a later one insists. Asks within `echoMs` (default 1,000) of the first are its echo: a terminal
 * signals the whole process group, and npm and the bootstrap pass the same signal on once more.
 */
export function createInterrupt(now: () => number, { echoMs = 1_000 }: { echoMs?: number } = {}): Interrupt {
  const asked = new AbortController()
  const insistences: (() => void)[] = []
  let firstMs: number | undefined
  return {
    signal: asked.signal,
    ask(name, reason = new DOMException(`${name} received`, 'AbortError')) {
      if (firstMs === undefined) {
        firstMs = now()
        asked.abort(reason)
      } else if (now() - firstMs >= echoMs) for (const insist of insistences.toReversed()) insist()
    },
    onInsist: (fn) => void insistences.push(fn),
  }
}
