import { Code, type RpcError } from '@docmesh/rpc'
import type { Outcome } from './endpoint-set.ts'

/** Answers that say nothing bad about the service: it works, the caller asked for something it cannot have. */
const NEUTRAL = new Set<Code>([
  Code.OK,
  Code.CANCELLED,
  Code.INVALID_ARGUMENT,
  Code.NOT_FOUND,
  Code.ALREADY_EXISTS,
  Code.ABORTED,
  Code.FAILED_PRECONDITION,
  Code.OUT_OF_RANGE,
  Code.UNIMPLEMENTED,
  Code.PERMISSION_DENIED,
  Code.UNAUTHENTICATED,
])

export const isNeutral = ({ code }: RpcError): boolean => NEUTRAL.has(code)

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
