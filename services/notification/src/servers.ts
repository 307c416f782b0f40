import { type Breaker, type BreakerOptions, checkRange, createBreaker } from '@docmesh/resilience'
import type { Outcome } from './channel.ts'

/** Not an attempt: the server is resting, or has enough in hand. */
export interface Refused {
  readonly kind: 'refused'
  readonly retryAfterMs: number
}

export interface Servers {
  /** Sends unless the server must be left alone. */
  attempt(server: string, send: () => Promise<Outcome>): Promise<Outcome | Refused>
  /** Those that would refuse an attempt now. */
  closed(): string[]
}

export interface ServersOptions {
  /** Default: 5 failures in a row open it for 10 s, doubling to a minute; one message then tries. */
  readonly breaker?: BreakerOptions
  /** Messages in hand for one server; default 4. */
  readonly atOnce?: number
  /** How many are remembered; default 1,000. */
  readonly maxServers?: number
}

export interface ServersDeps {
  readonly now: () => number
  readonly random: () => number
  /** Hears when a server is given a rest, and when it works again. */
  readonly onChange?: (server: string, state: 'open' | 'closed') => void
}

interface Server {
  readonly breaker: Breaker
  inHand: number
}

const BUSY_RETRY_MS = 100

/**
 * One circuit breaker and one limit per server (bulkheads: M. Nygard, *Release It!*), since any user may name a server
 * that hangs. The one used least recently is forgotten when there are too many, unless it has something in hand.
 */
export function createServers(
  { breaker = { trip: { kind: 'CONSECUTIVE' } }, atOnce = 4, maxServers = 1_000 }: ServersOptions,
  { now, random, onChange }: ServersDeps,
): Servers {
  checkRange({ atOnce }, 1, 1_000, { whole: true })
  checkRange({ maxServers }, 1, 100_000, { whole: true })
  const rule = { probes: 1, probeTimeoutMs: 60_000, ...breaker }
  const servers = new Map<string, Server>()

  const create = (name: string): Server => ({
    inHand: 0,
    breaker: createBreaker(rule, {
      now,
      random,
      onTransition: (_from, { state }) => {
        if (state !== 'HALF_OPEN') onChange?.(name, state === 'OPEN' ? 'open' : 'closed')
      },
    }),
  })

  /** Moves it to the end of the map, which is therefore in order of use. */
  const use = (name: string): Server => {
    const server = servers.get(name) ?? create(name)
    servers.delete(name)
    servers.set(name, server)
    for (const [other, { inHand }] of servers) {
      if (servers.size <= maxServers) break
      if (inHand === 0 && other !== name) servers.delete(other)
    }
    return server
  }

  const isResting = (breaker: Breaker): boolean => {
    const state = breaker.snapshot()
    if (state.state === 'OPEN') return state.retryAfterMs > 0
    return state.state === 'HALF_OPEN' && state.inFlight + state.successes >= rule.probes
  }

  return {
    async attempt(name, send) {
      const server = use(name)
      if (server.inHand >= atOnce) return { kind: 'refused', retryAfterMs: BUSY_RETRY_MS }
      const permit = server.breaker.tryAcquire()
      if (!permit.admitted) return { kind: 'refused', retryAfterMs: permit.retryAfterMs }
      const startedAtMs = now()
      server.inHand += 1
      try {
        const outcome = await send()
        if (outcome.kind === 'failed' && outcome.serverFault) permit.failure(now() - startedAtMs)
        else permit.success(now() - startedAtMs)
        return outcome
      } finally {
        server.inHand -= 1
        permit.ignore()
      }
    },
    closed: () =>
      [...servers]
        .filter(([, server]) => server.inHand >= atOnce || isResting(server.breaker))
        .map(([name]) => name),
  }
}
