import { Code, ERRORS, type Reason, RpcError } from '@docmesh/rpc'
import type { Outcome } from './pick.ts'

/** Answers that say nothing bad about the service: it works, the caller asked for something it cannot have. */
const NEUTRAL = new Set<Code>([
  Code.OK,
  Code.CANCELLED,
  Code.INVALID_ARGUMENT,
  Code.NOT_FOUND,
  Code.ALREADY_EXISTS,
  Code.FAILED_PRECONDITION,
  Code.OUT_OF_RANGE,
  Code.PERMISSION_DENIED,
  Code.UNAUTHENTICATED,
  // A conflict between two callers, to be resolved by reading again: it says as little as FAILED_PRECONDITION.
  Code.ABORTED,
  // The instance is of another version than the caller expects. Not calling it would hide its other methods.
  Code.UNIMPLEMENTED,
])

export const isNeutral = (error: RpcError): boolean => NEUTRAL.has(error.code) || isQuota(error)

/** A limit of the caller's own, like the size of an upload: RESOURCE_EXHAUSTED as well, but no overload. */
const isQuota = ({ reason }: RpcError): boolean =>
  reason in ERRORS && ERRORS[reason as Reason].kind === 'QuotaExceeded'

/** The service has too much to do and says so. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof RpcError && error.code === Code.RESOURCE_EXHAUSTED && !isQuota(error)

/** What a failed attempt says about the endpoint that it was sent to. */
export function outcomeOf(error: RpcError): Outcome {
  if (error.code === Code.CANCELLED) return 'NONE'
  if (isNeutral(error)) return 'SUCCESS'
  if (error.remote?.notSent) return 'REFUSED'
  if (
    error.remote?.connectionFailed ||
    error.code === Code.DEADLINE_EXCEEDED ||
    error.code === Code.UNAVAILABLE
  )
    return 'TRANSPORT'
  return 'ERROR'
}
