import type { ActionCap } from './action-cap.ts'
import { type CheckResult, checkId, type HealthCheck, runCheck } from './health-check.ts'
import type { RecoveryAction } from './recovery-action.ts'
import type { Strategy } from './strategy.ts'
import { type After, pause, within } from './timers.ts'

export type Outcome =
  | { readonly kind: 'healed'; readonly detail: string }
  /** People have to look. */
  | { readonly kind: 'escalated'; readonly detail: string }

export interface RecoveryTimes {
  /** Time that an action may take. Default 60,000. */
  readonly actionTimeoutMs: number
  /** Pause after the actions of a step, before the check is run again. Default 10,000. */
  readonly settleMs: number
  /** Time in which the check has to pass after that pause. Default 30,000. */
  readonly verifyMs: number
}

export interface RecoveryDeps {
  readonly actions: ReadonlyMap<string, RecoveryAction>
  readonly cap: ActionCap
  readonly now: () => number
  readonly after: After
  /** Called before each action. */
  readonly onAction: (action: RecoveryAction) => void
  /** Called after each action that was done. */
  readonly onDone: (action: RecoveryAction) => void
}

const VERIFY_EVERY_MS = 1_000

/**
 * One climb of a strategy: the actions of a step, then the check until it passes or the time is over, then the next
 * step. An action that fails is rolled back where it can be, and ends its step; the check decides all the same, since a
 * target may come back by itself. Rejects only when `signal` aborts.
 */
export async function recover(
  check: Required<HealthCheck>,
  strategy: Strategy,
  { actionTimeoutMs, settleMs, verifyMs }: RecoveryTimes,
  { actions, cap, now, after, onAction, onDone }: RecoveryDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  const notes: string[] = []
  const escalated = (why: string): Outcome => ({
    kind: 'escalated',
    detail: [`${checkId(check)} (${strategy.escalation}): ${why}`, ...notes].join('; '),
  })

  async function act(action: RecoveryAction): Promise<boolean> {
    try {
      notes.push(await within(actionTimeoutMs, after, signal, (own) => action.execute(check.target, own)))
      onDone(action)
      return true
    } catch (error) {
      signal.throwIfAborted()
      notes.push(`${action.name} failed: ${messageOf(error)}`)
    }
    const { rollback } = action
    if (!rollback) return false
    try {
      await within(actionTimeoutMs, after, signal, (own) => rollback.call(action, check.target, own))
    } catch (error) {
      signal.throwIfAborted()
      notes.push(`and could not be rolled back: ${messageOf(error)}`)
    }
    return false
  }

  async function verify(): Promise<CheckResult> {
    await pause(settleMs, after, signal)
    const deadlineMs = now() + verifyMs
    for (;;) {
      const result = await runCheck(check, after, signal)
      if (result.healthy || now() >= deadlineMs) return result
      await pause(VERIFY_EVERY_MS, after, signal)
    }
  }

  let last = ''
  for (const step of strategy.steps) {
    for (const name of step) {
      if (!cap.take(check.target)) return escalated('as many actions as are allowed have been taken')
      const action = actions.get(name)
      if (!action) throw new RangeError(`there is no recovery action ${name}`)
      onAction(action)
      if (!(await act(action))) break
    }
    const { healthy, detail } = await verify()
    if (healthy) return { kind: 'healed', detail: [...notes, detail].filter(Boolean).join('; ') }
    last = detail
  }
  return escalated(strategy.steps.length === 0 ? 'no action helps' : `nothing helped (${last})`)
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
