export type FakeClock = {
  /** Milliseconds. */
  now(): number
  /** Moves time and runs the timers that fall due, each at its own moment, in order. */
  advance(ms: number): void
  setTimeout(fn: () => void, delayMs: number): { clear(): void }
  /** Timers not yet run. */
  pending(): number
}

type Timer = { atMs: number; fn: () => void }

/** Time that moves only when told. */
export const fakeClock = (startMs = 0): FakeClock => {
  let nowMs = startMs
  const timers = new Set<Timer>()

  // A Set keeps insertion order, so of two timers due together the one set first is found first.
  const nextDue = (limitMs: number): Timer | undefined => {
    let next: Timer | undefined
    for (const timer of timers) if (timer.atMs <= limitMs && (!next || timer.atMs < next.atMs)) next = timer
    return next
  }

  return {
    now: () => nowMs,
    advance: (ms) => {
      if (!(ms >= 0)) throw new RangeError(`advance ${ms}: time does not go back`)
      const targetMs = nowMs + ms
      for (let timer = nextDue(targetMs); timer; timer = nextDue(targetMs)) {
        timers.delete(timer)
        nowMs = timer.atMs
        timer.fn()
      }
      nowMs = targetMs
    },
    setTimeout: (fn, delayMs) => {
      const timer = { atMs: nowMs + Math.max(0, delayMs), fn }
      timers.add(timer)
      return { clear: () => void timers.delete(timer) }
    },
    pending: () => timers.size,
  }
}
