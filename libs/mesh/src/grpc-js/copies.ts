/**
 * Copies of a unary call that grpc-js knows nothing of: one that hedges an attempt that is late, and one for a version
 * that is tried out. They are made where a request meets its connection, with its credentials and its bytes as they are.
 *
 * Not with the `hedgingPolicy` of grpc-js (1.14.7, `retrying-call.ts`): it sends copies without asking its throttle
 * (`maybeStartHedgingAttempt`), a copy that a picker refuses is lost and counts as an attempt, and a method that has
 * the policy can have no retries.
 */
import type { RpcError } from '@docmesh/rpc'
import * as grpc from '@grpc/grpc-js'
import { hedge, isDecisive } from '../hedge.ts'
import { MIRROR_MARK, MIRROR_TIMEOUT_MS } from '../mirror.ts'
import {
  type Answer,
  delegateTo,
  errorOf,
  type Listener,
  type PickedSubchannel,
  type RealSubchannel,
  realOf,
  type SubchannelCall,
  tell,
  wholeAnswer,
  withCreateCall,
} from './subchannel-call.ts'
import type { Attempt } from './target-call.ts'

/** A unary request on its way to a connection. */
interface Request {
  readonly metadata: grpc.Metadata
  readonly host: string
  readonly method: string
  readonly id: number
}

/** A unary request that has left. `message` has the frame of gRPC around it. */
export interface SentRequest extends Request {
  readonly message: Buffer
}

/** What is sent to another instance when an attempt is late. */
export interface LateCopy {
  readonly subchannel: PickedSubchannel
  readonly attempt: Attempt
  /** Attempts of the call that came before. */
  readonly previousAttempts: number
}

export interface Hedging {
  /** Time after which the attempt is late; `undefined` for never. */
  readonly delayMs: number | undefined
  readonly now: () => number
  /** Asked once, when it is late. */
  copy(): LateCopy | undefined
  onCopyEnded(outcome: 'won' | 'lost'): void
  /** The time of the attempt, both copies together, if it was answered. */
  onAnswered(ms: number): void
}

export interface Copies {
  /** The attempt that the subchannel was picked for. */
  readonly attempt: Attempt
  readonly hedging: Hedging | undefined
  readonly mirror: ((request: SentRequest) => void) | undefined
}

/** A request on one connection; `answer` rejects with {@link Failure}. */
interface Exchange {
  readonly call: SubchannelCall
  readonly answer: Promise<Answer>
}

interface Failure {
  readonly answer: Answer
  readonly error: RpcError
}

/** A subchannel for one attempt of a unary call. */
export function withCopies<S extends PickedSubchannel>(
  subchannel: S,
  { attempt, hedging, mirror }: Copies,
): S {
  const real = realOf(subchannel)
  return withCreateCall(subchannel, (metadata, host, method, listener, id) => {
    const request = { metadata, host, method, id }
    const call = hedging
      ? hedged(real, request, listener, { attempt, hedging })
      : createWhole(real, request, (answer) => tell(listener, answer))
    return mirror ? mirrored(call, request, mirror) : call
  })
}

const createWhole = (
  real: RealSubchannel,
  { metadata, host, method, id }: Request,
  onEnd: (answer: Answer) => void,
): SubchannelCall => real.createCall(metadata, host, method, wholeAnswer(onEnd), id)

/** Begins a request; the attempt, if it is one, learns how it ends. */
function exchange(real: RealSubchannel, request: Request, attempt?: Attempt): Exchange {
  const { promise: answer, resolve, reject } = Promise.withResolvers<Answer>()
  const call = createWhole(real, request, (answer) => {
    const error = errorOf(answer.status)
    attempt?.settle(error)
    if (error) reject({ answer, error } satisfies Failure)
    else resolve(answer)
  })
  return { call, answer }
}

function sendAll(subchannel: PickedSubchannel, request: SentRequest, attempt?: Attempt): Exchange {
  const sent = exchange(realOf(subchannel), request, attempt)
  sent.call.startRead()
  sent.call.sendMessageWithContext({}, request.message)
  sent.call.halfClose()
  return sent
}

const LOST = { code: grpc.status.CANCELLED, details: 'Another copy of the call was answered.' }

/** As docmesh's own clients do it; to grpc-js the two are one request. */
function hedged(
  real: RealSubchannel,
  request: Request,
  listener: Listener,
  { attempt, hedging }: { readonly attempt: Attempt; readonly hedging: Hedging },
): SubchannelCall {
  const { delayMs, now } = hedging
  const begunAt = now()
  const leave = new AbortController()
  const own = exchange(real, request, attempt)
  let message: Buffer | undefined
  let why = LOST

  function until(signal: AbortSignal, { call, answer }: Exchange, attempt: Attempt): Promise<Answer> {
    const end = (): void => {
      attempt.settle(errorOf({ ...why, metadata: new grpc.Metadata() }))
      call.cancelWithStatus(why.code, why.details)
    }
    signal.addEventListener('abort', end, { once: true })
    return answer
  }

  function second(signal: AbortSignal): Promise<Answer> | undefined {
    const late = message && hedging.copy()
    if (!message || !late) return undefined
    const metadata = request.metadata.clone()
    metadata.set('grpc-previous-rpc-attempts', String(late.previousAttempts))
    let copy: Exchange
    try {
      copy = sendAll(late.subchannel, { ...request, metadata, message }, late.attempt)
    } catch {
      late.attempt.abandon() // the connection has just gone: there is no copy
      return undefined
    }
    late.attempt.started()
    copy.answer.then(
      () => hedging.onCopyEnded(signal.aborted ? 'lost' : 'won'),
      () => hedging.onCopyEnded('lost'),
    )
    return until(signal, copy, late.attempt)
  }

  const first = (signal: AbortSignal): Promise<Answer> => until(signal, own, attempt)
  const decisive = (failure: unknown): boolean => isDecisive((failure as Failure).error)
  const answer =
    delayMs === undefined
      ? first(leave.signal)
      : hedge({ first, second, delayMs, signal: leave.signal, decisive })
  answer.then(
    (answer) => {
      hedging.onAnswered(now() - begunAt)
      tell(listener, answer)
    },
    ({ answer }: Failure) => tell(listener, answer),
  )
  return delegateTo(own.call, {
    sendMessageWithContext(context, bytes) {
      message = bytes
      own.call.sendMessageWithContext(context, bytes)
    },
    cancelWithStatus(code, details) {
      why = { code, details }
      leave.abort()
    },
  })
}

function mirrored(
  call: SubchannelCall,
  request: Request,
  mirror: (request: SentRequest) => void,
): SubchannelCall {
  let message: Buffer | undefined
  return delegateTo(call, {
    sendMessageWithContext(context, bytes) {
      message = bytes
      call.sendMessageWithContext(context, bytes)
    },
    halfClose() {
      call.halfClose()
      if (message) mirror({ ...request, message })
    },
  })
}

/** Sends a copy that has a deadline of its own and outlives the call, not the channel. Rejects with RpcError. */
export async function sendMirrored(
  subchannel: PickedSubchannel,
  request: SentRequest,
  closing: AbortSignal,
): Promise<void> {
  const metadata = request.metadata.clone()
  for (const [key, value] of Object.entries(MIRROR_MARK)) metadata.set(key, value)
  metadata.set('grpc-timeout', `${MIRROR_TIMEOUT_MS}m`)
  const { call, answer } = sendAll(subchannel, { ...request, metadata })
  const giveUp = (): void => call.cancelWithStatus(grpc.status.DEADLINE_EXCEEDED, 'No answer in time.')
  const cancel = (): void => call.cancelWithStatus(grpc.status.CANCELLED, 'The channel is closed.')
  const timer = setTimeout(giveUp, MIRROR_TIMEOUT_MS).unref()
  closing.addEventListener('abort', cancel)
  try {
    await answer
  } catch (failure) {
    throw (failure as Failure).error
  } finally {
    clearTimeout(timer)
    closing.removeEventListener('abort', cancel)
  }
}
