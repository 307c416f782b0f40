import type { ExpiryGuard } from './guard.ts'
import type { Lease } from './lease.ts'

/** What the guard holds back for so long is no storm: it goes, but for the last instance of a service. */
const HOLD_MS = 600_000

/** Services that keep a dead last instance; beyond them the oldest goes. */
const LAST_ONES = 1_000

/**
 * Which leases have run out: those `lapsed` that are kept, and those to be delisted. Kept is
 * - in quarantine, whatever was not heard of in time: a registry that has just started has not had the time to hear. A
 *   stream that broke in this life is evidence of its own;
 * - what the guard holds back;
 * - the last instance of a service: nobody said that it left, and an empty set would leave its callers nothing to try.
 * One that drains has said that it leaves.
 */
export function sweepLeases(
  leases: ReadonlyMap<string, Lease>,
  { now, quarantine, guard }: { now: number; quarantine: boolean; guard: ExpiryGuard },
): { lapsed: Lease[]; delisted: Lease[] } {
  const out: Lease[] = []
  for (const lease of leases.values())
    if (lease.expiresAt <= now && (lease.streamLost || !quarantine)) out.push(lease)
  const isRecent = ({ expiresAt }: Lease): boolean => expiresAt > now - HOLD_MS
  const doubtful = out.filter((lease) => lease.declared !== 'draining' && isRecent(lease))
  const guarded = guard.judge(now, doubtful.length, leases.size)
  if (out.length === 0) return { lapsed: [], delisted: [] }

  const left = new Map<string, number>()
  for (const { member } of leases.values()) left.set(member.service, (left.get(member.service) ?? 0) + 1)
  const lapsed: Lease[] = []
  const delisted: Lease[] = []
  out.sort((a, b) => a.expiresAt - b.expiresAt)
  for (const [index, lease] of out.entries()) {
    const { service } = lease.member
    const others = (left.get(service) ?? 0) - 1
    const leaving = lease.declared === 'draining'
    const isLast = others === 0 && out.length - index <= LAST_ONES
    if (leaving || (!isLast && (!guarded || !isRecent(lease)))) {
      left.set(service, others)
      delisted.push(lease)
      if (!leaving) guard.delisted(now)
    } else lapsed.push(lease)
  }
  return { lapsed, delisted }
}
