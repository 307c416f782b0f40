import { setTimeout as delay } from 'node:timers/promises'
import { codeName, RpcError } from '@docmesh/rpc'

/** How one call ended. Times are monotonic milliseconds. */
export interface Ended {
  readonly startedAt: number
  readonly endedAt: number
  /** Status code; `OK` for a success. */
  readonly code: string
  readonly message: string
}

export interface Load {
  readonly ended: readonly Ended[]
  /** Stops sending, waits for what is in flight, and returns every call. */
  stop(): Promise<readonly Ended[]>
}

/** Calls at a constant rate, whether the earlier ones have come back or not: a slow answer must not hide itself. */
export function startLoad(call: (number: number) => Promise<unknown>, perSecond: number): Load {
  const ended: Ended[] = []
  const inFlight = new Set<Promise<void>>()
  const stopping = new AbortController()
  const begunAt = performance.now()

  async function one(number: number): Promise<void> {
    const startedAt = performance.now()
    let code = 'OK'
    let message = ''
    try {
      await call(number)
    } catch (error) {
      code = error instanceof RpcError ? codeName(error.code) : 'UNKNOWN'
      message = (error as Error).message
    }
    ended.push({ startedAt, endedAt: performance.now(), code, message })
  }

  async function send(): Promise<void> {
    for (let sent = 0; !stopping.signal.aborted; ) {
      for (const due = ((performance.now() - begunAt) * perSecond) / 1_000; sent < due; sent++) {
        const running = one(sent).finally(() => inFlight.delete(running))
        inFlight.add(running)
      }
      await delay(1_000 / perSecond, undefined, { signal: stopping.signal }).catch(() => {})
    }
  }
  const sending = send()
  return {
    ended,
    async stop() {
      stopping.abort()
      await sending
      await Promise.all(inFlight)
      return ended
    },
  }
}

export const failuresIn = (calls: readonly Ended[]): readonly Ended[] =>
  calls.filter(({ code }) => code !== 'OK')

/**
 * For how long callers saw it, in milliseconds: from the start of the first call that failed to the start of the last. Not
 * from the fault, because what nobody has called yet has hurt nobody yet.
 */
export function healMs(calls: readonly Ended[]): number {
  const starts = failuresIn(calls).map(({ startedAt }) => startedAt)
  return starts.length === 0 ? 0 : Math.round(Math.max(...starts) - Math.min(...starts))
}
