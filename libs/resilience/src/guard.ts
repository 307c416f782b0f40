import type { Breaker } from './breaker.ts'
import { untilAborted } from './until-aborted.ts'

/** What an error says about the dependency. */
export type Verdict = 'SUCCESS' | 'FAILURE' | 'IGNORE'

export type GuardDeps = {
  readonly now: () => number
  /** Makes the error to throw while the circuit is open. */
  readonly refused: (retryAfterMs: number) => Error
  /** Judges an error: an answer such as "mailbox unknown" is a SUCCESS of the server. Default: always FAILURE. */
  readonly classify?: (error: unknown) => Verdict
}

/** Runs one call under the breaker. The signal is handed to the call, and ends the wait even if the call ignores it. */
export type Guard = <T>(call: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal) => Promise<T>

/**
 * Puts a breaker in front of asynchronous functions: SMTP, webhooks, AI providers, anything that is not an RPC.
 *
 * Errors pass through as they are; only the refusal is new, and its type belongs to the caller. When the signal ends
 * the call, the reason tells the fault: a `TimeoutError` (as from `AbortSignal.timeout`) means that the dependency was
 * too slow, hence a failure; any other reason means that nobody wants the answer any more, hence neutral.
 */
export function createGuard(
  breaker: Breaker,
  { now, refused, classify = () => 'FAILURE' }: GuardDeps,
): Guard {
  return async (call, signal = new AbortController().signal) => {
    signal.throwIfAborted()
    const permit = breaker.tryAcquire()
    if (!permit.admitted) throw refused(permit.retryAfterMs)
    const startedAtMs = now()
    try {
      const result = await untilAborted(call(signal), signal)
      permit.success(now() - startedAtMs)
      return result
    } catch (error) {
      const verdict = signal.aborted ? abortVerdict(signal.reason) : classify(error)
      if (verdict === 'SUCCESS') permit.success(now() - startedAtMs)
      else if (verdict === 'FAILURE') permit.failure(now() - startedAtMs)
      else permit.ignore()
      throw error
    }
  }
}

function abortVerdict(reason: unknown): Verdict {
  return reason instanceof Error && reason.name === 'TimeoutError' ? 'FAILURE' : 'IGNORE'
}
