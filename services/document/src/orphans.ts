import type { Blobs } from './blobs.ts'
import type { DocumentStore } from './store.ts'

export interface OrphanDeps {
  readonly store: DocumentStore
  readonly blobs: Blobs
  readonly clock: () => Date
}

/** Removes a content unless a document refers to it. Whoever is about to refer to it goes first, or stores it again. */
export function removeOrphan({ store, blobs }: Omit<OrphanDeps, 'clock'>, sha256: string): Promise<boolean> {
  return store.transaction(async (tx) => {
    await store.lockContent(tx, sha256)
    if (await store.isReferenced(tx, sha256)) return false
    await blobs.remove(sha256)
    return true
  })
}

/**
 * Removes the contents that have lain without a document for this long, and says how many: what instances leave that are
 * killed, or lose their database, between storing a content and committing its document. One instance at a time. It ends
 * at the next content when `signal` aborts: a store may take minutes, and the database closes only after it.
 */
export async function sweepOrphans(
  { store, blobs, clock }: OrphanDeps,
  { ageMs, signal }: { readonly ageMs: number; readonly signal: AbortSignal },
): Promise<number> {
  const removed = await store.alone(async (tx) => {
    let count = 0
    for await (const stored of blobs.stored()) {
      if (signal.aborted) break
      for (const sha256 of await store.unreferenced(tx, stored)) {
        if (signal.aborted) break
        const storedAt = await blobs.storedAt(sha256)
        const isOld = storedAt && clock().getTime() - storedAt.getTime() >= ageMs
        if (isOld && (await removeOrphan({ store, blobs }, sha256))) count++
      }
    }
    return count
  })
  return removed ?? 0
}
