import { checkRange } from '@docmesh/resilience'
import { codeName, type Method } from '@docmesh/rpc'
import type { Pick, PickReason } from './pick.ts'

/** Why an attempt was not made. */
export type RefusalReason = 'circuit_open' | 'throttled' | 'saturated' | 'no_endpoint' | 'fault_injected'

/** Why a call that failed, and might succeed elsewhere, was not sent again. */
export type RetryDenial = `retry_denied_${'budget' | 'pushback' | 'not_idempotent' | 'deadline'}`

/** `version_missing`: the version that the traffic policy chose could not be had, so any other was taken. */
export type DecisionReason = PickReason | 'hedge' | 'version_missing' | RefusalReason | RetryDenial

/** One attempt of a call, or the refusal to make one. */
export interface Decision {
  readonly at: Date
  readonly service: string
  /** `docmesh.document.v1.DocumentService/GetDocument` */
  readonly method: string
  /** 1 for the first attempt. */
  readonly attempt: number
  readonly reason: DecisionReason
  /** Instance that was picked; empty when none was. */
  readonly picked: string
  readonly pickedCostMs: number
  /** The candidate that lost; empty when there was none. */
  readonly lost: string
  readonly lostCostMs: number
  /** Version that the traffic policy chose; empty when it chose none. */
  readonly version: string
  /** `OK`; empty while the attempt runs, and for a second copy that was not sent. */
  readonly code: string
  /** Until the answer, of a stream until its first message; `undefined` while it runs or when nothing was sent. */
  readonly durationMs: number | undefined
}

export interface DecisionLog {
  /** Notes an attempt that is about to be sent. The answer is for {@link DecisionLog.ended}. */
  began(method: Method, attempt: number, reason: DecisionReason, pick: Pick, version: string): number
  ended(ticket: number, code: number, durationMs: number): void
  /** `code` is what the caller is told; `undefined` when it is told nothing, because the call goes on. */
  refused(
    method: Method,
    attempt: number,
    reason: RefusalReason | RetryDenial,
    code: number | undefined,
    version: string,
  ): void
  /** Newest first. */
  list(limit: number): readonly Decision[]
}

interface Slot {
  ticket: number
  atMs: number
  method: Method | undefined
  attempt: number
  reason: DecisionReason
  picked: string
  pickedCostMs: number
  lost: string
  lostCostMs: number
  version: string
  /** -1 for none. */
  code: number
  /** -1 for none. */
  durationMs: number
}

/**
 * The last decisions of the calls to one service. Every attempt passes here, so the slots are made once and
 * overwritten; what a reader wants is made when it is read. `capacity` is 1 to 10,000, default 256; `now` gives epoch
 * milliseconds.
 *
 * @throws RangeError if an option is out of range.
 */
export function createDecisionLog(
  service: string,
  { capacity = 256, now = Date.now }: { readonly capacity?: number; readonly now?: () => number } = {},
): DecisionLog {
  checkRange({ capacity }, 1, 10_000, { whole: true })
  const slots = Array.from({ length: capacity }, emptySlot)
  let next = 0

  function take(method: Method, attempt: number, reason: DecisionReason, version: string): Slot {
    const slot = slots[next % capacity] as Slot
    slot.ticket = next
    next += 1
    slot.atMs = now()
    slot.method = method
    slot.attempt = attempt
    slot.reason = reason
    slot.version = version
    slot.durationMs = -1
    return slot
  }

  const decisionOf = ({
    atMs,
    method,
    attempt,
    reason,
    version,
    code,
    durationMs,
    ...slot
  }: Slot): Decision => ({
    at: new Date(atMs),
    service,
    method: method?.path.slice(1) ?? '',
    attempt,
    reason,
    picked: slot.picked,
    pickedCostMs: slot.pickedCostMs,
    lost: slot.lost,
    lostCostMs: slot.lostCostMs,
    version,
    code: code < 0 ? '' : codeName(code),
    durationMs: durationMs < 0 ? undefined : durationMs,
  })

  return {
    began(method, attempt, reason, { endpoint, costMs, loser, loserCostMs }, version) {
      const slot = take(method, attempt, reason, version)
      slot.picked = endpoint.instanceId
      slot.pickedCostMs = costMs
      slot.lost = loser?.instanceId ?? ''
      slot.lostCostMs = loserCostMs
      slot.code = -1
      return slot.ticket
    },
    ended(ticket, code, durationMs) {
      const slot = slots[ticket % capacity] as Slot
      if (slot.ticket !== ticket) return // overwritten while the call ran
      slot.code = code
      slot.durationMs = durationMs
    },
    refused(method, attempt, reason, code, version) {
      const slot = take(method, attempt, reason, version)
      slot.picked = ''
      slot.pickedCostMs = 0
      slot.lost = ''
      slot.lostCostMs = 0
      slot.code = code ?? -1
    },
    list(limit) {
      const count = Math.min(limit, next, capacity)
      return Array.from({ length: count }, (_, back) =>
        decisionOf(slots[(next - 1 - back) % capacity] as Slot),
      )
    },
  }
}

const emptySlot = (): Slot => ({
  ticket: -1,
  atMs: 0,
  method: undefined,
  attempt: 0,
  reason: 'only',
  picked: '',
  pickedCostMs: 0,
  lost: '',
  lostCostMs: 0,
  version: '',
  code: -1,
  durationMs: -1,
})
