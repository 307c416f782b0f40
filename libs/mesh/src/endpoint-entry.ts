import { createPeakEwma, type Ejection, type PeakEwma, slowStartFactor } from '@docmesh/resilience'
import type { Endpoint } from './endpoint.ts'
import type { Pick, PickReason } from './pick.ts'

/** What the set knows of one endpoint. */
export interface Entry extends Impression {
  endpoint: Endpoint
  /** The endpoints with the highest ranks are this client's subset. */
  readonly rank: number
  readonly ejection: Ejection
  /** Calls under way, with those that began before `load` was replaced. */
  pending: number
  /** Who in this process has found it unwell. */
  readonly objectors: Set<object | undefined>
  inUse: boolean
  /** While ejected: when a call may probe it, and when any call has to because none of those came. */
  probeAtMs: number
  overdueAtMs: number
}

/** What calls have told of it. Begun anew when it is readmitted: what it was like before says nothing of it now. */
interface Impression {
  load: PeakEwma
  /** Whether `load` rests on at least one call. */
  measured: boolean
  /** When slow start began; `-Infinity` for none. */
  joinedAtMs: number
}

const LOWEST_MS = 1

export const isHealthy = ({ endpoint, objectors }: Entry): boolean => endpoint.healthy && objectors.size === 0

export const isEjected = ({ ejection }: Entry): boolean => ejection.state() !== 'AVAILABLE'

export const isReady = (entry: Entry): boolean => isHealthy(entry) && !isEjected(entry)

/** Share of the calls that the endpoint should get relative to its peers: its weight (1 for 100), less while it is new. */
export function shareOf({ endpoint, joinedAtMs }: Entry, atMs: number): number {
  return (endpoint.weight / 100) * slowStartFactor(atMs - joinedAtMs)
}

/**
 * Peak EWMA's `estimate × (pending + 1)` with the pending calls divided by the share: an endpoint with twice the share
 * bears twice the calls at the same cost. Only these are divided. If the whole cost were, an endpoint with a smaller
 * share would lose each comparison among idle ones, and get nothing instead of less; there `draw` does justice to it.
 *
 * A degraded endpoint costs double: it gets calls when its peers are busy.
 */
export function costOf({ endpoint, load }: Entry, share: number): number {
  const pending = load.pending()
  const costMs = (load.cost() / (pending + 1)) * (pending / share + 1)
  return endpoint.degraded ? costMs * 2 : costMs
}

/** Begins a call to the endpoint. */
export function begin(
  entry: Entry,
  reason: PickReason,
  costMs: number,
  loser?: Entry,
  loserCostMs = 0,
): Pick {
  const { endpoint, load, ejection } = entry
  const epoch = ejection.start()
  const startedAtMs = load.start()
  entry.pending += 1
  return {
    endpoint,
    reason,
    costMs,
    loser: loser?.endpoint,
    loserCostMs,
    done(outcome, pushbackMs) {
      entry.pending -= 1
      if (outcome === 'NONE') {
        load.cancel(startedAtMs)
        ejection.cancel(epoch)
        return
      }
      if (load === entry.load) entry.measured = true
      if (outcome === 'SUCCESS') {
        load.success(startedAtMs)
        ejection.success(epoch)
      } else {
        load.failure(startedAtMs, pushbackMs)
        ejection.failure(epoch, outcome)
      }
    },
  }
}

/**
 * The beginning of an endpoint: a guess, which its first answer replaces.
 *
 * Among peers that take `peerMs` it begins with what is typical, and slow start keeps it from getting its whole share at
 * once. Where nobody has answered yet, nobody is warm, and the guess is the lowest there is: whoever has not been tried
 * is tried next, and as its calls in flight count with their age, not by many at once. Beginning at 1 s, as Finagle and
 * tower do, the first endpoint that answers in 5 ms would get everything until the others have decayed, which takes 53 s.
 */
export function firstImpression(peerMs: number | undefined, now: () => number): Impression {
  const firstEstimateMs = Math.max(LOWEST_MS, peerMs ?? 0)
  const load = createPeakEwma({ firstEstimateMs, firstIsGuess: true }, { now })
  return { load, measured: false, joinedAtMs: peerMs === undefined ? -Infinity : now() }
}

/** Median estimate of those that are ready and have answered. Not the mean: one failure counts as 5 s, and spoils it. */
export function typicalMs(entries: readonly Entry[]): number | undefined {
  const estimates = entries
    .filter((entry) => entry.measured && isReady(entry))
    .map(({ load }) => load.estimateMs())
    .sort((a, b) => a - b)
  return estimates[estimates.length >> 1]
}
