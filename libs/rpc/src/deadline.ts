import { rpcError } from './errors.ts'
import type { Layer } from './layer.ts'

/**
 * Refuses work whose deadline has passed already: the caller no longer listens. While the work runs, the transport
 * aborts the call's signal when the deadline passes, and client calls made by the handler inherit the time that is left.
 */
export function deadlineLayer(now: () => number = Date.now): Layer {
  return (next) => (call) =>
    call.deadline <= now()
      ? Promise.reject(rpcError('DEADLINE_EXCEEDED', 'The deadline had passed when the call arrived.'))
      : next(call)
}
