import { checkRange } from '@docmesh/resilience'
import { type After, within } from './timers.ts'

/** How bad it is when a check fails, worst last. */
export type Criticality = 'low' | 'medium' | 'high' | 'critical'

export interface CheckResult {
  readonly healthy: boolean
  /** What was found, for people. */
  readonly detail: string
}

export interface HealthCheck {
  /** What is asked, e.g. `health`; strategies go by it. */
  readonly name: string
  /** What it is asked of, and what is mended: the name of an instance, or of a part such as `database`. */
  readonly target: string
  readonly criticality: Criticality
  /** Pause between two runs. Default 30,000, 1 to one day. */
  readonly intervalMs?: number
  /** A run that takes longer has failed. Default 10,000, 1 to one day. */
  readonly timeoutMs?: number
  /** Failures in a row that count as unhealthy; one pass counts as healthy again. Default 3, 1 to 100. */
  readonly failuresBefore?: number
  /**
   * Ids of checks that explain this one: while one of them fails, and a while after, a failure here says nothing and
   * nothing is done here, because the trouble is there.
   */
  readonly explainedBy?: readonly string[]
  /** Rejecting is a failure too. */
  readonly run: (signal: AbortSignal) => Promise<CheckResult>
}

/** Names a check in events and history: `health/document-1`. */
export const checkId = ({ name, target }: Pick<HealthCheck, 'name' | 'target'>): string => `${name}/${target}`

/** The check with its defaults. @throws RangeError if an option is out of range. */
export function completeCheck(check: HealthCheck): Required<HealthCheck> {
  const { intervalMs = 30_000, timeoutMs = 10_000, failuresBefore = 3, explainedBy = [] } = check
  checkRange({ intervalMs, timeoutMs }, 1, 86_400_000)
  checkRange({ failuresBefore }, 1, 100, { whole: true })
  return { ...check, intervalMs, timeoutMs, failuresBefore, explainedBy }
}

/** One run; a check that rejects or takes too long is unhealthy. Rejects only when `signal` aborts. */
export async function runCheck(
  { run, timeoutMs }: Required<HealthCheck>,
  after: After,
  signal: AbortSignal,
): Promise<CheckResult> {
  try {
    return await within(timeoutMs, after, signal, run)
  } catch (error) {
    signal.throwIfAborted()
    return { healthy: false, detail: error instanceof Error ? error.message : String(error) }
  }
}
