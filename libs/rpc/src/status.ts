// RpcError ↔ google.rpc.Status in `grpc-status-details-bin` (the standard rich error model).
import {
  BadRequest,
  ErrorInfo,
  QuotaFailure,
  ResourceInfo,
  RetryInfo,
} from '@docmesh/contracts/google/rpc/error_details'
import { Status } from '@docmesh/contracts/google/rpc/status'
import type { Reason } from './catalogue.ts'
import { Code } from './codes.ts'
import { durationOf, msOf } from './duration.ts'
import { RpcError, type RpcErrorOptions, rpcError } from './errors.ts'
import { type Metadata, textOf } from './metadata.ts'
import { TransportError } from './transport.ts'

const DETAILS = 'grpc-status-details-bin'
const PUSHBACK = 'grpc-retry-pushback-ms'
const DOMAIN = 'docmesh'
const TYPE_PREFIX = 'type.googleapis.com/'

interface AnyMessage {
  readonly typeUrl: string
  readonly value: Buffer
}

const pack = <T>(
  type: { $type: string; encode(message: T): { finish(): Uint8Array } },
  message: T,
): AnyMessage => ({
  typeUrl: TYPE_PREFIX + type.$type,
  value: Buffer.from(type.encode(message).finish()),
})

function detailsOf({ reason, options }: RpcError): AnyMessage[] {
  const { fields, resource, retryAfterMs, quota, metadata } = options
  const details = [errorInfo(reason, metadata)]
  if (fields) details.push(pack(BadRequest, BadRequest.fromPartial({ fieldViolations: [...fields] })))
  if (resource) {
    details.push(
      pack(
        ResourceInfo,
        ResourceInfo.fromPartial({ resourceType: resource.type, resourceName: resource.name }),
      ),
    )
  }
  if (retryAfterMs !== undefined) {
    details.push(pack(RetryInfo, RetryInfo.fromPartial({ retryDelay: durationOf(retryAfterMs) })))
  }
  if (quota) details.push(pack(QuotaFailure, QuotaFailure.fromPartial({ violations: [quota] })))
  return details
}

/**
 * The only place where an error becomes a status. Anything unknown is opaque outside: its cause belongs in the log. A
 * status that is longer than trailers may be is cut: it would end the connection, and with it every call on it.
 */
export function toTransportError(error: unknown): TransportError {
  const known = outward(error)
  const message = shortened(known.message)
  const status = Status.fromPartial({ code: known.code, message, details: fittingDetailsOf(known) })
  const metadata: Metadata = { [DETAILS]: Status.encode(status).finish() }
  if (known.options.retryAfterMs !== undefined)
    metadata[PUSHBACK] = String(Math.ceil(known.options.retryAfterMs))
  return new TransportError(known.code, message, metadata)
}

// Together with what base64 adds they stay below 8 KiB, the least that a gRPC library takes as trailers (grpc-java).
const MAX_MESSAGE_BYTES = 1_900
const MAX_DETAILS_BYTES = 2_500
const ELLIPSIS = '…'

/** What `grpc-message` can hold: well-formed, at most `MAX_MESSAGE_BYTES` when it is percent-encoded. */
function shortened(message: string): string {
  const whole = message.slice(0, MAX_MESSAGE_BYTES + 1).toWellFormed()
  if (encodeURI(whole).length <= MAX_MESSAGE_BYTES) return whole
  let room = MAX_MESSAGE_BYTES - encodeURI(ELLIPSIS).length
  let end = 0
  for (const character of whole) {
    room -= encodeURI(character).length
    if (room < 0) break
    end += character.length
  }
  return whole.slice(0, end) + ELLIPSIS
}

/** The details that there is room for; the reason always is among them. */
function fittingDetailsOf(error: RpcError): AnyMessage[] {
  let bytes = 0
  const fitting = detailsOf(error).filter(({ typeUrl, value }) => {
    const size = typeUrl.length + value.length
    const fits = bytes + size <= MAX_DETAILS_BYTES
    if (fits) bytes += size
    return fits
  })
  const hasReason = fitting[0]?.typeUrl === TYPE_PREFIX + ErrorInfo.$type
  return hasReason ? fitting : [errorInfo(error.reason), ...fitting]
}

const errorInfo = (reason: string, metadata: RpcErrorOptions['metadata'] = {}): AnyMessage =>
  pack(ErrorInfo, ErrorInfo.fromPartial({ reason, domain: DOMAIN, metadata: { ...metadata } }))

/** What the caller is told of an error: as it is if this process made it, in general terms otherwise. */
export function outward(error: unknown): RpcError {
  if (error instanceof RpcError) return error.remote ? withoutRemote(error) : error
  if (error instanceof Error && error.name === 'AbortError')
    return rpcError('CANCELLED', 'The call was cancelled.')
  if (error instanceof Error && error.name === 'DatabaseUnavailable')
    return rpcError('DATABASE_UNAVAILABLE', 'The database does not answer.', { cause: error })
  return rpcError('INTERNAL', 'An internal error occurred.', { cause: error })
}

/** A dependency's status is never relayed as our own: its NOT_FOUND is not the caller's NOT_FOUND. */
function withoutRemote(error: RpcError): RpcError {
  if (error.code === Code.CANCELLED) return rpcError('CANCELLED', 'The call was cancelled.', { cause: error })
  if (error.code === Code.DEADLINE_EXCEEDED) {
    return rpcError('DEADLINE_EXCEEDED', 'A service behind this one did not answer in time.', {
      cause: error,
    })
  }
  const busy = error.code === Code.UNAVAILABLE || error.code === Code.RESOURCE_EXHAUSTED
  return busy
    ? rpcError('DEPENDENCY_UNAVAILABLE', 'A service behind this one is not available.', { cause: error })
    : rpcError('INTERNAL', 'An internal error occurred.', { cause: error })
}

/** Rebuilds the error that the other process threw. */
export function fromTransportError(error: TransportError, method: string): RpcError {
  const { reason, options } = readDetails(error.metadata[DETAILS])
  const pushback = textOf(error.metadata, PUSHBACK)
  return new RpcError(
    error.code as Code,
    reason ?? fallbackReason(error),
    error.message,
    { ...options, cause: error },
    {
      method,
      connectionFailed: error.connectionFailed,
      notSent: error.notSent,
      pushbackMs: /^-?\d+$/.test(pushback) ? Number(pushback) : undefined,
    },
  )
}

/** For a status without details: made by the transport, or by a server that is not ours. */
function fallbackReason({ code, notSent }: TransportError): Reason | 'UNKNOWN' {
  switch (code) {
    case Code.CANCELLED:
      return 'CANCELLED'
    case Code.DEADLINE_EXCEEDED:
      return 'DEADLINE_EXCEEDED'
    case Code.UNIMPLEMENTED:
      return 'METHOD_UNIMPLEMENTED'
    case Code.UNAVAILABLE:
      return notSent ? 'NO_ENDPOINT' : 'DEPENDENCY_UNAVAILABLE'
    default:
      return 'UNKNOWN'
  }
}

function readDetails(bytes: string | Uint8Array | undefined): { reason?: string; options: RpcErrorOptions } {
  if (!(bytes instanceof Uint8Array)) return { options: {} }
  try {
    return unpack(Status.decode(bytes).details)
  } catch {
    return { options: {} } // garbage from a foreign server must not hide its status
  }
}

function unpack(details: readonly AnyMessage[]): { reason?: string; options: RpcErrorOptions } {
  let reason: string | undefined
  const options: { -readonly [K in keyof RpcErrorOptions]: RpcErrorOptions[K] } = {}
  for (const { typeUrl, value } of details) {
    switch (typeUrl.slice(TYPE_PREFIX.length)) {
      case ErrorInfo.$type: {
        const info = ErrorInfo.decode(value)
        reason = info.reason
        if (Object.keys(info.metadata).length > 0) options.metadata = info.metadata
        break
      }
      case BadRequest.$type:
        options.fields = BadRequest.decode(value).fieldViolations.map(({ field, description }) => ({
          field,
          description,
        }))
        break
      case ResourceInfo.$type: {
        const { resourceType, resourceName } = ResourceInfo.decode(value)
        options.resource = { type: resourceType, name: resourceName }
        break
      }
      case RetryInfo.$type: {
        const { retryDelay } = RetryInfo.decode(value)
        if (retryDelay) options.retryAfterMs = msOf(retryDelay)
        break
      }
      case QuotaFailure.$type: {
        const violation = QuotaFailure.decode(value).violations[0]
        if (violation) options.quota = { subject: violation.subject, description: violation.description }
      }
    }
  }
  return reason ? { reason, options } : { options }
}
