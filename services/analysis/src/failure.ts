import { ERROR_KINDS, ERRORS, type Reason, RpcError, rpcError } from '@docmesh/rpc'
import { isTransient, type Run } from '@docmesh/workflow'
import type { Failure, StepName } from './analysis.ts'

const UNEXPECTED = 'The analysis failed unexpectedly; the log of the service says why.'

/**
 * The error of a step as its run may keep it: in words of ours, for it is shown, and the run outlives the document.
 * `undefined`: nobody foresaw it, and the log has to say what it was.
 */
export function tellable(error: unknown): Error | undefined {
  if (error instanceof RpcError && !error.remote) return error
  if (error instanceof Error && AS_THEY_ARE.has(error.name)) return error
  if (!isTransient(error)) return undefined
  return rpcError('DEPENDENCY_UNAVAILABLE', 'A service that the analysis needs did not answer.', {
    cause: error,
  })
}

/** The engine goes by them. */
const AS_THEY_ARE = new Set(['DatabaseUnavailable', 'OwnershipLost', 'TimeoutError'])

export const unexpected = (cause: unknown): RpcError => rpcError('INTERNAL', UNEXPECTED, { cause })

/** What the library and the database say, in the words of the catalogue. */
const OTHERS: Readonly<Record<string, Pick<Failure, 'reason' | 'message'>>> = {
  TimeoutError: { reason: 'DEADLINE_EXCEEDED', message: 'The step took too long.' },
  DatabaseUnavailable: { reason: 'DATABASE_UNAVAILABLE', message: 'The database did not answer.' },
  TOO_MANY_RECOVERIES: {
    reason: 'TOO_MANY_RECOVERIES',
    message: 'Every instance that ran the analysis was lost over it. Retry it once the cause is found.',
  },
}

/** What the owner of an analysis is told of the failure that ended its run. */
export function failureOf({ failure, steps }: Run): Failure {
  const under = steps.find(({ state }) => state === 'running')?.name ?? 'queue'
  const step = (failure?.step || under) as StepName
  const reason = failure?.reason ?? 'INTERNAL'
  const other = OTHERS[reason]
  if (other) return { step, ...other, retryable: true }
  const known = reason in ERRORS && reason !== 'INTERNAL'
  if (!failure || !known) return { step, reason: 'INTERNAL', message: UNEXPECTED, retryable: true }
  return {
    step,
    reason,
    message: failure.message,
    retryable: ERROR_KINDS[ERRORS[reason as Reason].kind].retryable,
  }
}
