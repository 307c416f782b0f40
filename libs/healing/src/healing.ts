import { createBackoff } from '@docmesh/resilience'
import { type ActionCapOptions, createActionCap } from './action-cap.ts'
import type { HealingEvent, Recovery } from './healing-event.ts'
import { type CheckResult, checkId, completeCheck, type HealthCheck, runCheck } from './health-check.ts'
import { messageOf, type Outcome, type RecoveryTimes, recover } from './recovery.ts'
import type { RecoveryAction } from './recovery-action.ts'
import { type Strategy, strategyFor } from './strategy.ts'
import { type After, within } from './timers.ts'
import { createWatched, noteResult, type Watched } from './watched.ts'

export interface HealingOptions extends Partial<RecoveryTimes>, ActionCapOptions {
  readonly actions: readonly RecoveryAction[]
  readonly strategies: readonly Strategy[]
  /** Rest of a check after its first recovery, doubled by each further one. Default 60,000. */
  readonly cooldownMs?: number
  /** How long a check that passes again still explains others. Default 45,000. */
  readonly lingerMs?: number
  /** Ended recoveries that are kept. Default 1,000. */
  readonly historyLimit?: number
}

export interface HealingDeps {
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly after: After
  readonly random: () => number
  readonly ids: () => string
  readonly onEvent: (event: HealingEvent) => void
}

export interface Healing {
  /**
   * Runs a check from now on, at once and then at its interval; the answer ends it, and what is being done about it.
   * Throws RangeError.
   */
  watch(check: HealthCheck): () => void
  /** Recoveries that have ended, oldest first. */
  history(): readonly Recovery[]
  /** Ends the checks and what is under way; resolves when nothing is done any more. */
  stop(): Promise<void>
}

/**
 * Watches checks, mends what fails, and makes sure that it helped.
 *
 * check fails `failuresBefore` times → `checked` → the first strategy that fits → per action `started` → the check again
 * → `completed`. A recovery is one climb of a strategy and ends once: healed, or escalated to people.
 *
 * It cannot thrash: one recovery at a time per target; a rest after each recovery of a check, doubling; after an
 * escalation a rest of a whole window, so that people hear of a trouble that stays once per window; and a cap on the
 * actions per target and in all, exact over any window, which also counts what is undone. A check whose cause is known
 * to be elsewhere (`explainedBy`) causes neither news nor action.
 *
 * @throws RangeError if an option is out of range, or a strategy names an action that does not exist.
 */
export function createHealing(
  {
    actions,
    strategies,
    cooldownMs = 60_000,
    lingerMs = 45_000,
    historyLimit = 1_000,
    actionTimeoutMs = 60_000,
    settleMs = 10_000,
    verifyMs = 30_000,
    ...capOptions
  }: HealingOptions,
  { now, after, random, ids, onEvent }: HealingDeps,
): Healing {
  const byName = new Map(actions.map((action) => [action.name, action]))
  const unknown = strategies.flatMap(({ steps }) => steps.flat()).find((name) => !byName.has(name))
  if (unknown !== undefined) throw new RangeError(`there is no recovery action ${unknown}`)
  const cap = createActionCap(capOptions, now)
  const rest = createBackoff({ initialMs: cooldownMs, maxMs: Math.max(cooldownMs, cap.windowMs) }, random)
  const watched = new Map<string, Watched>()
  const busy = new Map<string, Promise<void>>()
  const past: Recovery[] = []
  let stopped = false

  function note(subject: Watched, result: CheckResult): void {
    if (!noteResult(subject, result, now())) return
    const { healthy, detail } = result
    onEvent({ kind: 'checked', check: checkId(subject.check), healthy, detail })
  }

  const explained = ({ check }: Watched): boolean =>
    check.explainedBy.some((id) => {
      const cause = watched.get(id)
      return cause !== undefined && (cause.failures > 0 || now() - cause.mendedAtMs < lingerMs)
    })

  function consider(subject: Watched): void {
    if (subject.ended.signal.aborted || busy.has(subject.check.target)) return
    if (subject.unhealthy) {
      if (now() >= subject.restUntilMs && !explained(subject)) occupy(subject, mend(subject))
      return
    }
    const wellForMs = now() - subject.mendedAtMs
    if (wellForMs >= cap.windowMs) subject.recoveries = 0
    const [due] = [...subject.undo].filter(({ undoAfterMs = 0 }) => wellForMs >= undoAfterMs)
    if (due) occupy(subject, undo(subject, due))
  }

  function occupy({ check: { target }, ended }: Watched, work: Promise<void>): void {
    const done = work
      .catch((error: unknown) => {
        if (!ended.signal.aborted) throw error
      })
      .finally(() => busy.delete(target))
    busy.set(target, done)
  }

  function remember(recovery: Recovery): void {
    past.push(recovery)
    if (past.length > historyLimit) past.shift()
    const { id: recoveryId, check, outcome } = recovery
    onEvent({
      kind: 'completed',
      recoveryId,
      check,
      succeeded: outcome.kind === 'healed',
      detail: outcome.detail,
    })
  }

  async function mend(subject: Watched): Promise<void> {
    const { check } = subject
    const id = ids()
    const startedAtMs = now()
    const begun: string[] = []
    const outcome = await recover(
      { ...check, run: (own) => check.run(own).then((result) => noted(subject, result)) },
      strategyFor(strategies, check),
      { actionTimeoutMs, settleMs, verifyMs },
      {
        actions: byName,
        cap,
        now,
        after,
        onAction({ name }) {
          begun.push(name)
          onEvent({ kind: 'started', recoveryId: id, check: checkId(check), action: name })
        },
        onDone(action) {
          if (action.rollback && action.undoAfterMs !== undefined) subject.undo.add(action)
        },
      },
      subject.ended.signal,
    )
    subject.recoveries++
    const restMs = outcome.kind === 'healed' ? rest(subject.recoveries) : cap.windowMs
    subject.restUntilMs = now() + restMs
    remember({ id, check: checkId(check), actions: begun, startedAtMs, endedAtMs: now(), outcome })
  }

  /** A pass ends the trouble at once; a failure says nothing new while the target is being mended. */
  function noted(subject: Watched, result: CheckResult): CheckResult {
    if (result.healthy) note(subject, result)
    return result
  }

  async function undo({ check, ended, undo: pending }: Watched, action: RecoveryAction): Promise<void> {
    if (!cap.take(check.target)) return
    pending.delete(action)
    const id = ids()
    const name = `undo ${action.name}`
    const startedAtMs = now()
    onEvent({ kind: 'started', recoveryId: id, check: checkId(check), action: name })
    let outcome: Outcome = { kind: 'healed', detail: `${name}: ${checkId(check)} has passed for long` }
    try {
      await within(actionTimeoutMs, after, ended.signal, async (own) => action.rollback?.(check.target, own))
    } catch (error) {
      ended.signal.throwIfAborted()
      outcome = { kind: 'escalated', detail: `${name} failed for ${checkId(check)}: ${messageOf(error)}` }
    }
    remember({ id, check: checkId(check), actions: [name], startedAtMs, endedAtMs: now(), outcome })
  }

  async function round(subject: Watched): Promise<void> {
    const { check, ended } = subject
    // While its target is being mended the check says nothing: the verification asks.
    if (!busy.has(check.target)) {
      const result = await runCheck(check, after, ended.signal)
      // What is explained elsewhere is no news either.
      if (!busy.has(check.target) && (result.healthy || !explained(subject))) note(subject, result)
      consider(subject)
    }
    if (!ended.signal.aborted) subject.cancelNext = after(check.intervalMs, () => start(subject))
  }

  function start(subject: Watched): void {
    round(subject).catch((error: unknown) => {
      if (!subject.ended.signal.aborted) throw error
    })
  }

  function forget({ ended, cancelNext }: Watched): void {
    ended.abort()
    cancelNext()
  }

  return {
    watch(given) {
      const check = completeCheck(given)
      const id = checkId(check)
      if (watched.has(id)) throw new RangeError(`${id} is watched already`)
      const subject = createWatched(check)
      const end = (): void => {
        forget(subject)
        watched.delete(id)
      }
      if (stopped) return end
      watched.set(id, subject)
      start(subject)
      return end
    },
    history: () => past,
    async stop() {
      stopped = true
      for (const subject of watched.values()) forget(subject)
      watched.clear()
      await Promise.all(busy.values())
    },
  }
}
