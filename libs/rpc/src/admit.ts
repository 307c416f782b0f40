import { checkRange } from '@docmesh/resilience'
import { rpcError } from './errors.ts'
import { type Layer, settle } from './layer.ts'

/**
 * Sheds load above `maxConcurrent` unary calls (default 1,024) instead of letting all of them become slow. Streams are
 * not counted: an open watch costs next to nothing.
 */
export function admitLayer({ maxConcurrent = 1_024 }: { maxConcurrent?: number } = {}): Layer {
  checkRange({ maxConcurrent }, 1, 1_000_000, { whole: true })
  let running = 0
  return (next) => (call) => {
    if (call.method.requestStream || call.method.responseStream) return next(call)
    if (running >= maxConcurrent) {
      return Promise.reject(
        rpcError('OVERLOADED', `This instance already handles ${maxConcurrent} calls.`, {
          retryAfterMs: 100,
        }),
      )
    }
    running++
    return settle(call.method, next(call), () => {
      running--
    })
  }
}
