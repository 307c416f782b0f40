import type { Permit } from '@docmesh/resilience'
import { Code, type Method, RpcError, rpcError } from '@docmesh/rpc'
import { noPick, reasonOf } from '../attempt.ts'
import { classOf } from '../breakers.ts'
import type { RefusalReason, RetryDenial } from '../decision-log.ts'
import { outcomeOf } from '../outcome.ts'
import type { NoPick, Pick, PickOptions } from '../pick.ts'
import { MAX_ATTEMPTS } from '../retries.ts'
import type { TrafficRoute } from '../traffic-policy.ts'
import { isRepeatable, isUnary } from './contract.ts'
import type { TargetService } from './target-service.ts'

/** How far a channel gets. */
export interface Reach {
  /** `undefined` for an instance that it does not know. */
  stateOf(instanceId: string): 'connecting' | 'ready' | 'failed' | undefined
  readonly notReady: ReadonlySet<string>
}

/** An attempt and where it goes. */
export interface Sending {
  readonly instanceId: string
  readonly attempt: Attempt
}

/** What to do now for an attempt. */
export type Turn =
  | ({ readonly kind: 'send' } & Sending)
  | { readonly kind: 'refuse'; readonly error: RpcError }
  /** The client gets what the last attempt ended with. */
  | { readonly kind: 'give up' }
  | Unreached

type Unreached =
  | { readonly kind: 'wait' }
  /** No instance can be reached; `instanceId` is one of them. */
  | { readonly kind: 'unreachable'; readonly instanceId: string }

type Choice =
  | { readonly kind: 'picked'; readonly pick: Pick }
  | { readonly kind: 'none'; readonly why: NoPick }
  | Unreached

/** An attempt that the transport has been given. */
export interface Attempt {
  started(): void
  isStarted(): boolean
  /** The answer has begun. */
  answered(): void
  /** How what was sent to the instance ended. */
  settle(error: RpcError | undefined): void
  /** What the transport has of it in the end, be it from a copy that was sent beside it. */
  ended(error: RpcError | undefined): void
  /** As if it had not been begun. */
  abandon(): void
}

/** One call over all its attempts, which come one after the other; beside one that is late there may be a copy. */
export interface TargetCall {
  readonly method: Method
  readonly route: TrafficRoute
  next(reach: Reach): Turn
  /** A copy of the attempt that is late, for another instance; `undefined` if there shall be none. */
  copy(reach: Reach): (Sending & { readonly previousAttempts: number }) | undefined
  /** The answer has begun. */
  answered(): void
  /** The client has its answer or has given up, with this code: nothing more may be sent. */
  end(code: number): void
}

/**
 * Balances and guards the attempts of one call. grpc-js may drop what it was given without a word: when the call ends
 * before it is sent, or when the connection breaks just then. So an attempt counts as dropped once the next one begins
 * or the call is over.
 *
 * When to repeat is decided by grpc-js, with its back-off; whether it may be is decided here, by the budget that all
 * calls to the service share.
 */
export function createTargetCall(
  { name, endpoints, admission, budget, decisions, count }: TargetService,
  {
    method,
    route,
    now,
  }: { readonly method: Method; readonly route: TrafficRoute; readonly now: () => number },
): TargetCall {
  const tried = new Set<string>()
  const version = route.version ?? ''
  let open: Attempt | undefined
  let sent = 0
  /** Set while the last attempt has failed and may be repeated, which is paid once. */
  let repeat: 'unpaid' | 'paid' | undefined
  let isAnswered = false
  let isOver = false

  function refuse(reason: RefusalReason, error: RpcError) {
    count.refused(reason)
    decisions.refused(method, sent + 1, reason, error.code, version)
    return { kind: 'refuse', error } as const
  }

  /** A pick that the channel can send to, or what to do instead. */
  function reachable(picked: Pick | NoPick, { stateOf }: Reach): Choice {
    if (typeof picked === 'string') return { kind: 'none', why: picked }
    const { instanceId } = picked.endpoint
    const state = stateOf(instanceId)
    if (state === 'ready') return { kind: 'picked', pick: picked }
    picked.done('NONE')
    return state === 'failed' ? { kind: 'unreachable', instanceId } : { kind: 'wait' }
  }

  /** The version of the policy if it has a fresh instance, else any; and rather one that was tried than none. */
  function choose(reach: Reach): Choice {
    const { version, hashKey } = route
    const options: PickOptions = {
      avoid: tried.size === 0 ? reach.notReady : tried.union(reach.notReady),
      mayProbe: isRepeatable(method),
      ...(hashKey !== undefined && { hashKey }),
    }
    if (version !== undefined) {
      const chosen = reachable(endpoints.pick({ ...options, version }), reach)
      if (chosen.kind === 'wait') return chosen
      if (chosen.kind === 'picked') {
        if (!tried.has(chosen.pick.endpoint.instanceId)) return chosen
        chosen.pick.done('NONE')
      }
    }
    const chosen = reachable(endpoints.pick(options), reach)
    if (chosen.kind === 'picked' || tried.size === 0) return chosen
    return reachable(endpoints.pick({ ...options, avoid: reach.notReady }), reach)
  }

  function attempt(reach: Reach, isCopy: boolean): Exclude<Turn, { kind: 'give up' }> {
    const chosen = choose(reach)
    if (chosen.kind === 'none') return refuse(chosen.why, noPick(name, chosen.why))
    if (chosen.kind !== 'picked') return chosen
    const { pick } = chosen
    const permit = admission.admit(classOf(method))
    if (permit instanceof RpcError) {
      pick.done('NONE')
      return refuse(permit.reason === 'CIRCUIT_OPEN' ? 'circuit_open' : 'throttled', permit)
    }
    return { kind: 'send', instanceId: pick.endpoint.instanceId, attempt: begin(pick, permit, isCopy) }
  }

  function begin(pick: Pick, permit: Permit, isCopy: boolean): Attempt {
    const { endpoint, done } = pick
    let begunAt = now()
    let isOpen = true
    let isRepeat = false
    /** Of the log; `undefined` until it is started. */
    let ticket: number | undefined
    function close(code: number): number {
      isOpen = false
      const ms = now() - begunAt
      if (ticket !== undefined) decisions.ended(ticket, code, ms)
      return ms
    }
    function settle(error: RpcError | undefined): void {
      if (!isOpen) return
      const ms = close(error?.code ?? Code.OK)
      if (isRepeat) count.retried(error ? 'failure' : 'success')
      done(error ? outcomeOf(error) : 'SUCCESS', Math.max(0, error?.remote?.pushbackMs ?? 0))
      admission.report(permit, error, ms, method.name)
    }
    const self: Attempt = {
      isStarted: () => ticket !== undefined,
      started() {
        begunAt = now()
        isRepeat = sent > 0 && !isCopy
        if (sent === 0) budget.deposit()
        if (!isCopy) repeat = undefined
        sent += 1
        tried.add(endpoint.instanceId)
        count.picked()
        ticket = decisions.began(method, sent, isCopy ? 'hedge' : reasonOf(pick, route), pick, version)
      },
      settle,
      ended(error) {
        settle(error)
        if (open === self && error && !isAnswered) judge(error)
      },
      // A stream may last for days: whether it works shows when it begins.
      answered() {
        if (!isUnary(method)) settle(undefined)
      },
      abandon() {
        if (!isOpen) return
        close(Code.CANCELLED)
        done('NONE')
        permit.ignore()
      },
    }
    return self
  }

  /** Notes what grpc-js does about a failure: it repeats what is UNAVAILABLE, if that is allowed. */
  function judge(error: RpcError): void {
    if (isOver || error.code !== Code.UNAVAILABLE) return
    if (sent >= MAX_ATTEMPTS) repeat = 'unpaid'
    else if ((error.remote?.pushbackMs ?? 0) < 0) deny('retry_denied_pushback', error.code)
    else if (!isRepeatable(method) && !error.remote?.notSent) deny('retry_denied_not_idempotent', error.code)
    else repeat = 'unpaid'
  }

  const deny = (why: RetryDenial, code: number | undefined): void =>
    decisions.refused(method, sent + 1, why, code, version)

  /** Copies of late attempts count as attempts, and grpc-js does not know of them. */
  function mayRepeat(): boolean {
    if (sent >= MAX_ATTEMPTS) return false
    if (budget.tryWithdraw()) return true
    count.retried('refused')
    deny('retry_denied_budget', Code.UNAVAILABLE)
    return false
  }

  return {
    method,
    route,
    next(reach) {
      // One that has begun will be reported: grpc-js may begin the next before.
      if (!open?.isStarted()) open?.abandon()
      open = undefined
      if (isOver)
        return { kind: 'refuse', error: rpcError('CANCELLED', 'The call was cancelled before it was sent.') }
      if (repeat === 'unpaid') {
        if (!mayRepeat()) return { kind: 'give up' }
        repeat = 'paid'
      }
      const turn = attempt(reach, false)
      if (turn.kind === 'send') open = turn.attempt
      return turn
    },
    copy(reach) {
      if (isOver || sent >= MAX_ATTEMPTS) return undefined
      const turn = attempt(reach, true)
      if (turn.kind !== 'send') return undefined
      const isElsewhere = !tried.has(turn.instanceId)
      if (isElsewhere && budget.tryWithdraw()) return { ...turn, previousAttempts: sent }
      turn.attempt.abandon()
      if (isElsewhere) {
        count.hedged('refused')
        deny('retry_denied_budget', undefined)
      }
      return undefined
    },
    answered() {
      isAnswered = true
      open?.answered()
    },
    end(code) {
      const waits = repeat && sent < MAX_ATTEMPTS && !isOver
      if (waits && code === Code.DEADLINE_EXCEEDED) deny('retry_denied_deadline', code)
      isOver = true
      open?.abandon()
    },
  }
}
