import type { TailEventsResponse } from '@docmesh/contracts/ops/v1/event'
import {
  SystemHealthChecked,
  SystemRecoveryCompleted,
  SystemRecoveryStarted,
} from '@docmesh/contracts/ops/v1/events'

/** A recovery as the event log tells of it. */
export interface LoggedRecovery {
  readonly recoveryId: string
  /** Check that failed; empty when nothing was done about it. */
  check: string
  /** What the check said when it began to fail; empty when the log does not say. */
  why: string
  readonly actions: string[]
  /** `unfinished` while it is under way, and when docmesh was stopped meanwhile. */
  outcome: 'unfinished' | 'healed' | 'escalated'
  /** ISO 8601. */
  readonly startedAt: string
  tookMs?: number
  detail: string
}

export interface RecoveryLog {
  /** Takes the events in the order of the log; other types, and what was erased, are ignored. */
  add(entry: TailEventsResponse): void
  newestFirst(): readonly LoggedRecovery[]
}

/** Puts the events of recoveries together; keeps the newest `limit`. */
export function createRecoveryLog(limit: number): RecoveryLog {
  const recoveries = new Map<string, LoggedRecovery>()
  /** What each failing check said last. */
  const failing = new Map<string, string>()

  function of(recoveryId: string, at: Date): LoggedRecovery {
    const known = recoveries.get(recoveryId)
    if (known) return known
    const startedAt = at.toISOString()
    const fresh: LoggedRecovery = {
      recoveryId,
      check: '',
      why: '',
      actions: [],
      outcome: 'unfinished',
      startedAt,
      detail: '',
    }
    recoveries.set(recoveryId, fresh)
    for (const [oldest] of recoveries) {
      if (recoveries.size <= limit) break
      recoveries.delete(oldest)
    }
    return fresh
  }

  return {
    add({ event, payloadJson }) {
      if (!event || payloadJson === '') return
      const { type, occurredAt = new Date(0) } = event
      const payload: unknown = JSON.parse(payloadJson)
      if (type === SystemHealthChecked.$type) {
        const { check, healthy, detail } = SystemHealthChecked.fromJSON(payload)
        if (healthy) failing.delete(check)
        else failing.set(check, detail)
      } else if (type === SystemRecoveryStarted.$type) {
        const { recoveryId, check, action } = SystemRecoveryStarted.fromJSON(payload)
        const recovery = of(recoveryId, occurredAt)
        recovery.check = check
        recovery.why ||= failing.get(check) ?? ''
        recovery.actions.push(action)
      } else if (type === SystemRecoveryCompleted.$type) {
        const { recoveryId, succeeded, detail } = SystemRecoveryCompleted.fromJSON(payload)
        const recovery = of(recoveryId, occurredAt)
        recovery.outcome = succeeded ? 'healed' : 'escalated'
        recovery.tookMs = occurredAt.getTime() - Date.parse(recovery.startedAt)
        recovery.detail = detail
      }
    },
    newestFirst: () => [...recoveries.values()].reverse(),
  }
}
