import { rendezvousScore } from '@docmesh/resilience'
import type { Candidates, Group } from './candidates.ts'
import { begin, costOf, type Entry, isHealthy, isReady, shareOf } from './endpoint-entry.ts'
import type { Pick, PickReason } from './pick.ts'

type Avoid = ReadonlySet<string> | undefined

export interface EndpointChoice {
  /** The probe that is due, if there is one. */
  probe(candidates: Candidates, avoid: Avoid, mayProbe: boolean): Pick | undefined
  /** By cost, in the own zone or the others. */
  spread(candidates: Candidates, avoid: Avoid): Pick | undefined
  /** By key. */
  stick(candidates: Candidates, key: string, avoid: Avoid, mayProbe: boolean): Pick | undefined
}

/** Random draws that may fail before the whole group is searched: half of them being unfit, that is one search in 256. */
const DRAWS = 8
/** How many times the cost of the other an endpoint may cost that was chosen by its share. */
const TOLERANCE = 2

/**
 * The three ways to choose an endpoint. A call is never sent to one that has `maxPending` already, nor to an avoided
 * one; nothing is allocated but the pick.
 */
export function createEndpointChoice({
  now,
  random,
  maxPending,
}: {
  readonly now: () => number
  readonly random: () => number
  readonly maxPending: number
}): EndpointChoice {
  const fits = ({ pending, endpoint }: Entry, avoid: Avoid): boolean =>
    pending < maxPending && !avoid?.has(endpoint.instanceId)

  /**
   * A random entry other than `except`, with a probability proportional to its share: by rejection, which is fair and
   * takes one look when all have the same share, and after some failures by summing up.
   */
  function draw({ entries, fullShare }: Group, avoid: Avoid, except: Entry | undefined, atMs: number) {
    for (let tries = 0; tries < DRAWS; tries++) {
      const entry = entries[Math.floor(random() * entries.length)] as Entry
      if (entry === except || !fits(entry, avoid)) continue
      const share = shareOf(entry, atMs)
      if (share === fullShare || random() * fullShare < share) return entry
    }
    let sum = 0
    for (const entry of entries) if (entry !== except && fits(entry, avoid)) sum += shareOf(entry, atMs)
    let point = random() * sum
    let chosen: Entry | undefined
    for (const entry of entries) {
      if (entry === except || !fits(entry, avoid)) continue
      chosen = entry
      point -= shareOf(entry, atMs)
      if (point < 0) break
    }
    return chosen
  }

  /**
   * Power of two choices (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing"; Finagle's `P2C`).
   * Between unequal shares the draw has done justice, and a plain comparison would undo it: of a large share and several
   * small ones, the large one would win half of its comparisons and never get more than half of the calls.
   */
  function leastCost(group: Group, avoid: Avoid, panic: boolean): Pick | undefined {
    const { entries } = group
    if (entries.length === 0) return undefined
    const atMs = now()
    const [a, b] = entries as [Entry, Entry]
    if (entries.length === 2 && fits(a, avoid) && fits(b, avoid)) return inTurn(group, a, b, atMs, panic)
    const first = draw(group, avoid, undefined, atMs)
    if (!first) return undefined
    const share = shareOf(first, atMs)
    const second = entries.length > 1 ? draw(group, avoid, first, atMs) : undefined
    if (!second) return begin(first, panic ? 'panic' : 'only', costOf(first, share))
    const otherShare = shareOf(second, atMs)
    return cheaper(first, share, second, otherShare, share === otherShare ? 1 : TOLERANCE, panic)
  }

  /**
   * Of two there is nothing to choose at random: the comparison alone would send every call to the one that is a
   * microsecond faster. They take turns by their shares, the rounding error carried on (Bresenham). The one whose turn
   * it is loses it when it costs more than twice the other, so when it is slow, hangs or has failed.
   */
  function inTurn(group: Group, a: Entry, b: Entry, atMs: number, panic: boolean): Pick {
    const shareA = shareOf(a, atMs)
    const shareB = shareOf(b, atMs)
    group.credit += shareA / (shareA + shareB)
    if (group.credit < 0.5) return cheaper(b, shareB, a, shareA, TOLERANCE, panic)
    group.credit -= 1
    return cheaper(a, shareA, b, shareB, TOLERANCE, panic)
  }

  /** The first one, unless it costs more than `tolerance` times the second. */
  function cheaper(
    first: Entry,
    firstShare: number,
    second: Entry,
    secondShare: number,
    tolerance: number,
    panic: boolean,
  ): Pick {
    const reason: PickReason = panic ? 'panic' : 'least_cost'
    const firstMs = costOf(first, firstShare)
    const secondMs = costOf(second, secondShare)
    return firstMs <= tolerance * secondMs
      ? begin(first, reason, firstMs, second, secondMs)
      : begin(second, reason, secondMs, first, firstMs)
  }

  const isDue = ({ probeAtMs, overdueAtMs }: Entry, mayProbe: boolean): boolean =>
    now() >= (mayProbe ? probeAtMs : overdueAtMs)

  return {
    probe({ ejected, probeAtMs }, avoid, mayProbe) {
      if (ejected.length === 0 || now() < probeAtMs) return undefined
      for (const entry of ejected) {
        if (isDue(entry, mayProbe) && fits(entry, avoid) && entry.ejection.ready())
          return begin(entry, 'probe', costOf(entry, 1))
      }
      return undefined
    },
    spread({ everyone, near, far, nearShare, panic }, avoid) {
      if (panic) return leastCost(everyone, avoid, true)
      const stays = nearShare === 1 || random() < nearShare
      return leastCost(stays ? near : far, avoid, false) ?? leastCost(stays ? far : near, avoid, false)
    },
    stick({ pool, panic }, key, avoid, mayProbe) {
      let best: Entry | undefined
      let bestScore = -1
      let probes = false
      for (const entry of pool.all) {
        const ready = isReady(entry)
        const due = !ready && isHealthy(entry) && isDue(entry, mayProbe) && entry.ejection.ready()
        if (!(ready || due || panic) || !fits(entry, avoid)) continue
        const score = rendezvousScore(key, entry.endpoint.instanceId, entry.endpoint.weight)
        if (score <= bestScore) continue
        best = entry
        bestScore = score
        probes = due
      }
      return best && begin(best, probes ? 'probe' : 'sticky', costOf(best, shareOf(best, now())))
    },
  }
}
