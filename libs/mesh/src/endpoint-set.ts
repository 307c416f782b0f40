import {
  createEjection,
  createPeakEwma,
  type Ejection,
  type FailureKind,
  inPanic,
  maxEjected,
  type PeakEwma,
} from '@docmesh/resilience'
import type { Endpoint } from './endpoint.ts'

/** How a call to an endpoint ended, as far as choosing endpoints cares. `NONE`: nobody can tell. */
export type Outcome = 'SUCCESS' | FailureKind | 'NONE'

export interface Pick {
  readonly endpoint: Endpoint
  /** To be called exactly once, when the call has ended. `pushbackMs` is the server's wish for the next attempt. */
  done(outcome: Outcome, pushbackMs?: number): void
}

export interface EndpointSet {
  /** Replaces the endpoints; what is known of those that stay is kept. */
  update(endpoints: readonly Endpoint[]): void
  /** Chooses an endpoint, avoiding the instances in `avoid` while there is another one. */
  pick(avoid?: ReadonlySet<string>): Pick | undefined
  /** Endpoints that a pick would consider now. */
  available(): number
  list(): readonly EndpointView[]
}

export interface EndpointView {
  readonly endpoint: Endpoint
  readonly state: 'ready' | 'ejected' | 'unhealthy' | 'draining'
  readonly estimateMs: number
  readonly pending: number
}

export interface EndpointSetDeps {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly onEjection?: (endpoint: Endpoint) => void
}

interface Entry {
  endpoint: Endpoint
  readonly load: PeakEwma
  readonly ejection: Ejection
}

/** Chances that two random choices get to find an endpoint that is ready, before the whole set is searched. */
const RANDOM_TRIES = 3

/**
 * The endpoints of one service and the choice among them: power of two choices over peak EWMA (M. Mitzenmacher, "The
 * Power of Two Choices in Randomized Load Balancing"; Finagle's `P2C` and `PeakEwma`). Knows no transport: it hands out
 * endpoints and takes outcomes.
 *
 * Below 50 % available the set is in panic and every endpoint that is not draining is chosen from, healthy or not: a
 * registry or a health check that is wrong must not take the service down.
 */
export function createEndpointSet({ now, random, onEjection }: EndpointSetDeps): EndpointSet {
  let entries: Entry[] = []
  /** Those that take new calls, and how many of them are unhealthy or ejected: kept so that a pick need not count. */
  let open: Entry[] = []
  let impaired = 0
  const byId = new Map<string, Entry>()

  const isReady = ({ endpoint, ejection }: Entry): boolean => endpoint.healthy && ejection.ready()
  const isEjected = ({ ejection }: Entry): boolean => ejection.state() !== 'AVAILABLE'
  const anyEntry = (): boolean => true

  function recount(): void {
    impaired = open.filter((entry) => !entry.endpoint.healthy || isEjected(entry)).length
  }

  function add(endpoint: Endpoint): Entry {
    const entry: Entry = {
      endpoint,
      load: createPeakEwma({}, { now }),
      ejection: createEjection(
        {},
        {
          now,
          random,
          mayEject: () => open.length > 1 && open.filter(isEjected).length < maxEjected(open.length),
          onTransition: (_, to) => {
            recount()
            if (to === 'EJECTED') onEjection?.(entry.endpoint)
          },
        },
      ),
    }
    return entry
  }

  function choose(
    candidate: (entry: Entry) => boolean,
    avoid: ReadonlySet<string> | undefined,
  ): Entry | undefined {
    const fits = (entry: Entry): boolean => candidate(entry) && !avoid?.has(entry.endpoint.instanceId)
    if (open.length > 2) {
      for (let i = 0; i < RANDOM_TRIES; i++) {
        const first = open[Math.floor(random() * open.length)]
        const second = open[Math.floor(random() * open.length)]
        if (first && second && first !== second && fits(first) && fits(second)) return cheaper(first, second)
      }
    }
    const fitting = open.filter(fits)
    if (fitting.length <= 1) return fitting[0]
    const at = Math.floor(random() * fitting.length)
    const other = (at + 1 + Math.floor(random() * (fitting.length - 1))) % fitting.length
    return cheaper(fitting[at] as Entry, fitting[other] as Entry)
  }

  const cheaper = (a: Entry, b: Entry): Entry => (a.load.cost() <= b.load.cost() ? a : b)

  function begin(entry: Entry): Pick {
    const { load, ejection, endpoint } = entry
    const epoch = ejection.start()
    const startedAt = load.start()
    return {
      endpoint,
      done(outcome, pushbackMs) {
        if (outcome === 'NONE') {
          load.cancel(startedAt)
          ejection.cancel(epoch)
        } else if (outcome === 'SUCCESS') {
          load.success(startedAt)
          ejection.success(epoch)
        } else {
          load.failure(startedAt, pushbackMs)
          ejection.failure(epoch, outcome)
        }
      },
    }
  }

  return {
    update(endpoints) {
      const previous = new Map(byId)
      byId.clear()
      for (const endpoint of endpoints) {
        const known = previous.get(endpoint.instanceId)
        const entry = known?.endpoint.address === endpoint.address ? known : add(endpoint)
        entry.endpoint = endpoint
        byId.set(endpoint.instanceId, entry)
      }
      entries = [...byId.values()]
      open = entries.filter(({ endpoint }) => !endpoint.draining)
      recount()
    },
    pick(avoid) {
      const candidate = inPanic(open.length - impaired, open.length) ? anyEntry : isReady
      const entry = choose(candidate, avoid) ?? choose(candidate, undefined)
      return entry && begin(entry)
    },
    available: () => open.filter(isReady).length,
    list: () =>
      entries.map(({ endpoint, load, ejection }) => ({
        endpoint,
        state: endpoint.draining
          ? 'draining'
          : !endpoint.healthy
            ? 'unhealthy'
            : ejection.state() === 'AVAILABLE'
              ? 'ready'
              : 'ejected',
        estimateMs: load.estimateMs(),
        pending: load.pending(),
      })),
  }
}
