import { setTimeout as wait } from 'node:timers/promises'
import type { Backoff } from './backoff.ts'
import { checkRange } from './range.ts'
import { untilAborted } from './until-aborted.ts'

/** The longest delay that `setTimeout` honours; it fires a longer one at once. */
const MAX_TIMER_MS = 2_147_483_647

/** Resolves after `ms`; rejects, and clears its timer, when the signal aborts. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>

export type RetryOptions = {
  /** Attempts in all, the first included. Default 3, 1 to 100. */
  readonly attempts?: number
  /** Delay before each retry; `createBackoff({}, random)` is the house default. */
  readonly backoff: Backoff
  /** Each attempt ends with a `TimeoutError` after this time. Default 30 s, 1 ms to 24 days. */
  readonly perAttemptTimeoutMs?: number
  /** Whether an error, the time-out included, is worth another attempt. Default: every one is. */
  readonly retryable?: (error: unknown) => boolean
  /** Ends everything at once, with its reason. */
  readonly signal?: AbortSignal
  readonly sleep?: Sleep
}

/**
 * Calls `call` until it succeeds, an error is not retryable, or the attempts are used up; the last error is thrown as
 * it is. For dependencies outside the mesh: RPCs have their own retries, with a budget, and only one layer may retry.
 *
 * An attempt gets a signal that aborts on its own time-out or on the caller's signal, and is not waited for any longer
 * once that has happened. Both timers are always cleared, and neither is unref'd: what they hold open is the work that
 * somebody awaits, and a process that has nothing else to do must not exit in the middle of a back-off.
 *
 * @throws RangeError if an option is out of range; the signal's reason if it aborts.
 */
export async function retry<T>(
  call: (signal: AbortSignal, attempt: number) => Promise<T>,
  {
    attempts = 3,
    backoff,
    perAttemptTimeoutMs = 30_000,
    retryable = () => true,
    signal = new AbortController().signal,
    sleep = (ms, stop) => wait(ms, undefined, { signal: stop }),
  }: RetryOptions,
): Promise<T> {
  checkRange({ attempts }, 1, 100, { whole: true })
  checkRange({ perAttemptTimeoutMs }, 1, MAX_TIMER_MS)
  signal.throwIfAborted()
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await runOnce((own) => call(own, attempt), perAttemptTimeoutMs, signal, sleep)
    } catch (error) {
      signal.throwIfAborted()
      if (attempt === attempts || !retryable(error)) throw error
    }
    await untilAborted(sleep(backoff(attempt), signal), signal)
  }
}

async function runOnce<T>(
  call: (signal: AbortSignal) => Promise<T>,
  timeoutMs: number,
  signal: AbortSignal,
  sleep: Sleep,
): Promise<T> {
  const timeout = new AbortController()
  const done = new AbortController()
  const expire = () => timeout.abort(new DOMException(`no result after ${timeoutMs} ms`, 'TimeoutError'))
  sleep(timeoutMs, done.signal).then(expire, () => {})
  try {
    const own = AbortSignal.any([signal, timeout.signal])
    return await untilAborted(call(own), own)
  } finally {
    done.abort()
  }
}
