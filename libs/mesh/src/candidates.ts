import { inPanic } from '@docmesh/resilience'
import { type Entry, isEjected, isHealthy, isReady } from './endpoint-entry.ts'

/** Endpoints that one choice is made among. */
export interface Group {
  readonly entries: readonly Entry[]
  /** Highest weight among them, as a share. */
  readonly fullShare: number
  /** Of two that take turns: how far the first is behind its share, in calls. */
  credit: number
}

/** Endpoints that take calls, all of them or those of one version, in the order in which this client takes them. */
export interface Pool {
  readonly all: readonly Entry[]
  readonly near: readonly Entry[]
  readonly far: readonly Entry[]
}

/** Whom to choose from, as of the last change of membership, health or ejection, so that a pick need not count. */
export interface Candidates {
  readonly pool: Pool
  /** The subset: near and far, ready or not. */
  readonly everyone: Group
  readonly near: Group
  readonly far: Group
  /** Share of the calls that stay near. */
  readonly nearShare: number
  readonly panic: boolean
  /** Members of the subset to be probed, and when the first of them is due. */
  readonly ejected: readonly Entry[]
  readonly probeAtMs: number
}

/** How much more than its part a locality can carry (Envoy's default): it is full while 71 % of it are ready. */
const OVERPROVISIONING = 1.4

export function poolOf(all: readonly Entry[], zone: string): Pool {
  const ranked = all.toSorted((a, b) => b.rank - a.rank)
  // Who does not know where it is has no near and far.
  const isNear = ({ endpoint }: Entry): boolean => zone === '' || endpoint.zone === zone
  return { all, near: ranked.filter(isNear), far: ranked.filter((entry) => !isNear(entry)) }
}

/**
 * Divides the calls between the own zone and the others as Envoy does between priority levels ("Priority levels",
 * "Overprovisioning factor", "Panic threshold"): a level carries 1.4 × its ready share of all calls, the next one the
 * remainder. Panic comes when both together cannot carry everything, and fewer than half of the endpoints are ready;
 * without zones, the second condition implies the first.
 */
export function candidatesOf(pool: Pool, subsetSize: number): Candidates {
  const near = subsetOf(pool.near, subsetSize)
  const far = subsetOf(pool.far, subsetSize)
  const everyone = [...near, ...far]
  const readyNear = near.filter(isReady)
  const readyFar = far.filter(isReady)
  const nearLoad = OVERPROVISIONING * ratio(readyNear.length, near.length)
  const farLoad = OVERPROVISIONING * ratio(readyFar.length, far.length)
  const ejected = everyone.filter((entry) => isEjected(entry) && isHealthy(entry))
  return {
    pool,
    everyone: groupOf(everyone),
    near: groupOf(readyNear),
    far: groupOf(readyFar),
    nearShare: Math.min(1, nearLoad),
    panic: nearLoad + farLoad < 1 && inPanic(readyNear.length + readyFar.length, everyone.length),
    ejected,
    probeAtMs: Math.min(...ejected.map(({ probeAtMs }) => probeAtMs)),
  }
}

/**
 * The first `size` by rank, so that many clients do not each hold connections to each of many endpoints (gRFC A68,
 * "Random subsetting": rendezvous order by client and endpoint; a change of one endpoint changes one place). It depends
 * on who is there, not on who is well: replacing each that fails would move it with every incident. Only when fewer
 * than half of it are ready, this client was unlucky, and it takes twice as many.
 */
function subsetOf(ranked: readonly Entry[], size: number): readonly Entry[] {
  if (ranked.length <= size) return ranked
  const subset = ranked.slice(0, size)
  return inPanic(subset.filter(isReady).length, size) ? subsetOf(ranked, size * 2) : subset
}

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

const groupOf = (entries: readonly Entry[]): Group => ({
  entries,
  fullShare: entries.reduce((most, { endpoint }) => Math.max(most, endpoint.weight / 100), 0),
  credit: 0,
})
