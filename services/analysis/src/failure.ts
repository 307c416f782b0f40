import { RpcError } from '@docmesh/rpc'
import type { Failure, StepName } from './analysis.ts'

/** What the owner of an analysis is told of the error that ended it. */
export function failureOf(step: StepName, cause: unknown): Failure {
  if (cause instanceof RpcError) {
    const { reason, message, retryable } = cause
    if (cause.remote) {
      return {
        step,
        reason: 'DEPENDENCY_UNAVAILABLE',
        message: 'A service that the analysis needs did not answer.',
        retryable: true,
      }
    }
    return { step, reason, message, retryable }
  }
  return {
    step,
    reason: 'INTERNAL',
    message: 'The analysis failed unexpectedly; the log of the service says why.',
    retryable: true,
  }
}
