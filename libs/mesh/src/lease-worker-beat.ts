/** How often a loop that is well shows it. */
const BEAT_MS = 100

/** Nanoseconds of the clock that all threads of a process share. */
const monotonic = (): bigint => process.hrtime.bigint()

/** The sign of life of one event loop, in memory that another thread can read while the loop is busy. */
export interface Beat {
  readonly memory: SharedArrayBuffer
  stop(): void
}

export function startBeat(): Beat {
  const memory = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT)
  const lastBeat = new BigInt64Array(memory)
  const beat = (): void => void Atomics.store(lastBeat, 0, monotonic())
  beat()
  const timer = setInterval(beat, BEAT_MS).unref()
  return { memory, stop: () => clearInterval(timer) }
}

/** Milliseconds by which the next beat is late; 0 while it is not due. */
export function lagOf(memory: SharedArrayBuffer, now: () => bigint = monotonic): number {
  const sinceMs = Number(now() - Atomics.load(new BigInt64Array(memory), 0)) / 1e6
  return Math.max(0, sinceMs - BEAT_MS)
}
