import { fromGrpcStatus, type RpcError } from '@docmesh/rpc'
import * as grpc from '@grpc/grpc-js'

/** What grpc-js wants to hear of a request on one connection. */
export interface Listener {
  onReceiveMetadata(metadata: grpc.Metadata): void
  onReceiveMessage(message: unknown): void
  onReceiveStatus(status: grpc.StatusObject): void
}

export interface MessageContext {
  readonly callback?: (error?: Error | null) => void
  readonly flags?: number
}

/** A request on one connection. */
export interface SubchannelCall {
  cancelWithStatus(code: grpc.status, details: string): void
  getPeer(): string
  sendMessageWithContext(context: MessageContext, message: Buffer): void
  startRead(): void
  halfClose(): void
  getCallNumber(): number
  getDeadlineInfo(): string[]
  getAuthContext(): unknown
}

export interface RealSubchannel {
  createCall(
    metadata: grpc.Metadata,
    host: string,
    method: string,
    listener: Listener,
    id: number,
  ): SubchannelCall
}

/** What a pick has of a subchannel: the policies of grpc-js wrap the one that has the connection. */
export interface PickedSubchannel {
  getRealSubchannel(): object
}

export const realOf = (subchannel: PickedSubchannel): RealSubchannel =>
  subchannel.getRealSubchannel() as RealSubchannel

/** The same subchannel, with another way to begin a request. */
export function withCreateCall<S extends PickedSubchannel>(
  subchannel: S,
  createCall: RealSubchannel['createCall'],
): S {
  const real = Object.assign(Object.create(realOf(subchannel)), { createCall })
  return Object.assign(Object.create(subchannel), { getRealSubchannel: () => real })
}

/** A request that does some things differently. */
export const delegateTo = (call: SubchannelCall, changes: Partial<SubchannelCall>): SubchannelCall => ({
  cancelWithStatus: (code, details) => call.cancelWithStatus(code, details),
  getPeer: () => call.getPeer(),
  sendMessageWithContext: (context, message) => call.sendMessageWithContext(context, message),
  startRead: () => call.startRead(),
  halfClose: () => call.halfClose(),
  getCallNumber: () => call.getCallNumber(),
  getDeadlineInfo: () => call.getDeadlineInfo(),
  getAuthContext: () => call.getAuthContext(),
  ...changes,
})

/** The whole answer to a unary request. */
export interface Answer {
  readonly headers: grpc.Metadata | undefined
  readonly body: { readonly message: unknown } | undefined
  readonly status: grpc.StatusObject
}

/** Keeps what comes back until the request has ended. */
export function wholeAnswer(onEnd: (answer: Answer) => void): Listener {
  let headers: grpc.Metadata | undefined
  let body: Answer['body']
  return {
    onReceiveMetadata(metadata) {
      headers = metadata
    },
    onReceiveMessage(message) {
      body = { message }
    },
    onReceiveStatus: (status) => onEnd({ headers, body, status }),
  }
}

/**
 * Tells grpc-js of an answer, so that it may repeat a call whose connection broke at any moment before its end. By itself
 * it gives up as soon as the headers of the answer are there (gRFC A6), and takes a connection that breaks while it is
 * written to for an internal error.
 */
export function tell(listener: Listener, { headers, body, status }: Answer): void {
  const isBroken = errorOf(status)?.remote?.connectionFailed === true
  if (headers && !isBroken) listener.onReceiveMetadata(headers)
  if (body && !isBroken) listener.onReceiveMessage(body.message)
  const isUnavailable = isBroken && status.code === grpc.status.INTERNAL
  listener.onReceiveStatus(isUnavailable ? { ...status, code: grpc.status.UNAVAILABLE } : status)
}

export const errorOf = (status: grpc.StatusObject): RpcError | undefined =>
  status.code === grpc.status.OK ? undefined : fromGrpcStatus(status)
