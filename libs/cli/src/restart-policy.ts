/** A program ends with this when its environment is wrong: starting it again cannot help (`EX_CONFIG` of sysexits.h). */
const BAD_ENVIRONMENT = 78

export interface RestartOptions {
  /** Delay before the first restart. Default 200. */
  readonly initialMs?: number
  /** Longest delay. Default 10,000. */
  readonly maxMs?: number
  /** A process that ran this long counts as well again. Default 30,000. */
  readonly resetAfterMs?: number
}

type Decision =
  | { readonly kind: 'restart'; readonly delayMs: number }
  | { readonly kind: 'give-up'; readonly reason: 'bad environment' }

/** What to do when a process ends: each failure in a row doubles the delay. Knows no processes, only their ends. */
export interface RestartPolicy {
  started(): void
  ended(exitCode: number | null): Decision
}

export function createRestartPolicy(
  now: () => number,
  { initialMs = 200, maxMs = 10_000, resetAfterMs = 30_000 }: RestartOptions = {},
): RestartPolicy {
  let startedMs = now()
  let failures = 0
  return {
    started() {
      startedMs = now()
    },
    ended(exitCode) {
      if (exitCode === BAD_ENVIRONMENT) return { kind: 'give-up', reason: 'bad environment' }
      if (now() - startedMs >= resetAfterMs) failures = 0
      return { kind: 'restart', delayMs: Math.min(maxMs, initialMs * 2 ** failures++) }
    },
  }
}
