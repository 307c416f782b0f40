/**
 * How many messages one caller may send: a token bucket that holds `burst` and gains `perSecond`.
 * (A. S. Tanenbaum, Computer Networks, "token bucket".)
 */
export function createAllowance({
  burst,
  perSecond,
  now,
}: {
  burst: number
  perSecond: number
  /** Milliseconds. */
  now: () => number
}): { take(): boolean } {
  let tokens = burst
  let at = now()
  return {
    take() {
      const time = now()
      tokens = Math.min(burst, tokens + ((time - at) / 1_000) * perSecond)
      at = time
      if (tokens < 1) return false
      tokens--
      return true
    },
  }
}
