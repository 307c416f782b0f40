import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Change } from './change.ts'
import type { Updates } from './updates.ts'

/** The policies in force, as the database holds them. */
export function createPolicyTable({
  updates,
  announce,
  pending,
}: {
  updates: Pick<Updates, 'next' | 'bury' | 'forget'>
  announce: (change: Change) => void
  pending: boolean
}) {
  let unread = pending
  let table = new Map<string, TrafficPolicy>()
  return {
    all: (): readonly TrafficPolicy[] => [...table.values()],
    pending: () => unread,
    replace(all: readonly TrafficPolicy[]): void {
      const before = table
      table = new Map(before)
      for (const service of before.keys()) {
        if (all.some((policy) => policy.service === service)) continue
        table.delete(service)
        updates.bury(service)
        announce({ kind: 'policy', service, policy: undefined })
      }
      for (const policy of all) {
        const known = before.get(policy.service)
        if (known && isSame(known, policy)) continue
        const numbered = { ...policy, revision: updates.next() }
        table.set(policy.service, numbered)
        announce({ kind: 'policy', service: policy.service, policy: numbered })
      }
      if (!unread) return
      unread = false
      updates.forget() // a delta cannot say it
      announce({ kind: 'policies_read' })
    },
  }
}

const isSame = (a: TrafficPolicy, b: TrafficPolicy): boolean => bytesOf(a).equals(bytesOf(b))
const bytesOf = (policy: TrafficPolicy): Buffer =>
  Buffer.from(TrafficPolicy.encode({ ...policy, revision: 0n }).finish())
