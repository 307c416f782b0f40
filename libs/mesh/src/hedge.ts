import { createLatencyQuantile, type LatencyQuantile } from '@docmesh/resilience'
import { Code, type Method, RpcError, type ServiceDefinition } from '@docmesh/rpc'
import { isNeutral } from './outcome.ts'

export interface Copies<T> {
  readonly first: (signal: AbortSignal) => Promise<T>
  /** Asked once, when the first copy is late; `undefined` if there shall be no second one. */
  readonly second: (signal: AbortSignal) => Promise<T> | undefined
  readonly delayMs: number
  readonly signal: AbortSignal | undefined
  /** Whether a failure is an answer that the other copy would get as well. */
  readonly decisive: (error: unknown) => boolean
}

/**
 * Sends a copy of a call that is late, and takes the first answer (J. Dean and L. A. Barroso, "The Tail at Scale", CACM
 * 2013, "Hedged requests"; gRFC A6). The other copy is cancelled. A failure that is no answer waits for the other copy;
 * before there is one, it ends the race: what comes then is a retry.
 */
export function hedge<T>({ first, second, delayMs, signal, decisive }: Copies<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stopFirst = new AbortController()
    const stopSecond = new AbortController()
    let running = 0

    const leave = (): void => {
      stopFirst.abort(signal?.reason)
      stopSecond.abort(signal?.reason)
    }
    const run = (copy: Promise<T>, stopOther: AbortController): void => {
      running += 1
      const end = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', leave)
        stopOther.abort()
      }
      copy.then(
        (answer) => {
          end()
          resolve(answer)
        },
        (error: unknown) => {
          running -= 1
          if (running > 0 && !decisive(error)) return
          end()
          reject(error)
        },
      )
    }

    signal?.addEventListener('abort', leave, { once: true })
    if (signal?.aborted) leave()
    const timer = setTimeout(() => {
      const copy = stopSecond.signal.aborted ? undefined : second(stopSecond.signal)
      if (copy) run(copy, stopFirst)
    }, delayMs).unref()
    run(first(stopFirst.signal), stopSecond)
  })
}

/** Whether a failure is what any other instance would say too. */
export const isDecisive = (error: unknown): boolean =>
  error instanceof RpcError && error.code !== Code.CANCELLED && isNeutral(error)

/**
 * Names of the methods under these keys of a definition.
 *
 * @throws RangeError if one of them is a stream or not idempotent.
 */
export function hedgedMethods<D extends ServiceDefinition>(
  { methods, fullName }: D,
  keys: readonly (keyof D['methods'] & string)[],
): ReadonlySet<string> {
  return new Set(
    keys.map((key) => {
      const method = methods[key]
      if (!method || method.requestStream || method.responseStream || !method.options.idempotencyLevel)
        throw notHedgeable(`${fullName}/${key}`)
      return method.name
    }),
  )
}

export const notHedgeable = (name: string): RangeError =>
  new RangeError(`${name} cannot be hedged: only unary methods that are idempotent can`)

export interface HedgeDelays {
  /** Time after which a call of this method is late: the observed p95; `undefined` while too little is known. */
  delayMs(method: Method): number | undefined
  /** Counts the time of one answered call, both copies together. */
  record(method: Method, ms: number): void
}

/** How far the estimate may be below the truth: where all calls take the same time, each would be late. */
const RELATIVE_ERROR = 0.05

export function createHedgeDelays(now: () => number): HedgeDelays {
  const quantiles = new Map<string, LatencyQuantile>()
  return {
    delayMs({ path }) {
      const p95Ms = quantiles.get(path)?.value()
      return p95Ms === undefined ? undefined : Math.ceil(p95Ms / (1 - RELATIVE_ERROR))
    },
    record({ path }, ms) {
      let quantile = quantiles.get(path)
      if (!quantile) {
        quantile = createLatencyQuantile({}, { now })
        quantiles.set(path, quantile)
      }
      quantile.record(ms)
    },
  }
}
