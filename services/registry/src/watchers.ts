import { type Filter, isEmpty, type Update, type Updates } from './updates.ts'

export interface WatchOptions {
  /** Only these services; default all. */
  readonly services?: Filter
  /** By which it acknowledges revisions; default none. */
  readonly watcherId?: string
}

export interface Watchers {
  /**
   * What changed since the given revision, then every change. A watcher that brings the state of another life has to
   * wait while this one is young: what it has is better than a mesh whose instances have not registered again yet.
   */
  watch(
    fromEpoch: string,
    fromRevision: bigint,
    signal: AbortSignal,
    options?: WatchOptions,
  ): AsyncIterable<Update>
  /** There is news. */
  wake(): void
  /** The instances had time to register again. */
  settle(): void
  settled(): boolean
  count(): number
  /** A watcher has applied a revision. Of another epoch, or from nobody who watches, it says nothing. */
  acknowledge(watcherId: string, epoch: string, revision: bigint): void
  /** What every watcher that acknowledges has applied. */
  acknowledged(): bigint
  /** True when all of them have applied the revision, false when that took longer. */
  whenAcknowledged(revision: bigint, waitMs: number): Promise<boolean>
  /** Ends all watches, so that watchers go to another replica. */
  close(): void
}

/** A watch by somebody who acknowledges. */
interface Watcher {
  /** Last revision that it was sent. */
  sent: bigint
  /** Last revision that it has if it has applied what it was sent: later ones held nothing for it. */
  seen: bigint
  acknowledged: bigint
}

const appliedBy = ({ acknowledged, sent, seen }: Watcher): bigint =>
  acknowledged >= sent ? seen : acknowledged

/**
 * Each watcher is sent what changed between the revision that it has and the newest, when it can take it: one that
 * reads slowly skips the states in between, and nothing is queued for it.
 */
export function createWatchers(epoch: string, updates: Updates): Watchers {
  const wakers = new Set<() => void>()
  const acknowledging = new Map<string, Set<Watcher>>()
  const waiting = new Set<() => void>()
  let settled = false
  let closed = false
  let count = 0

  function wake(): void {
    for (const each of [...wakers]) each()
  }

  function heed(): void {
    for (const check of [...waiting]) check()
  }

  function enlist(watcherId: string, watcher: Watcher): () => void {
    const ofId = acknowledging.get(watcherId) ?? new Set()
    acknowledging.set(watcherId, ofId.add(watcher))
    return () => {
      ofId.delete(watcher)
      if (ofId.size === 0) acknowledging.delete(watcherId)
      heed()
    }
  }

  function haveApplied(revision: bigint): boolean {
    for (const ofId of acknowledging.values())
      for (const watcher of ofId) if (appliedBy(watcher) < revision) return false
    return true
  }

  return {
    async *watch(fromEpoch, fromRevision, signal, { services, watcherId = '' } = {}) {
      const open = (): boolean => !closed && !signal.aborted
      const isOfAnotherLife = fromEpoch !== '' && fromEpoch !== epoch
      const known = fromEpoch === epoch && fromRevision <= updates.revision() ? fromRevision : 0n
      const watcher: Watcher = { sent: known, seen: known, acknowledged: known }
      const delist = watcherId === '' ? () => {} : enlist(watcherId, watcher)
      const news = listen(wakers, signal)
      count++
      try {
        while (isOfAnotherLife && !settled && open()) await news.next()
        let update = updates.since(fromEpoch, fromRevision, services)
        let first = true
        while (open()) {
          watcher.seen = update.revision
          if (first || !isEmpty(update)) {
            watcher.sent = update.revision
            yield update
          } else heed()
          first = false
          while (watcher.seen === updates.revision() && open()) await news.next()
          update = updates.since(epoch, watcher.seen, services)
        }
      } finally {
        count--
        news.end()
        delist()
      }
    },
    wake,
    settle() {
      settled = true
      wake()
    },
    settled: () => settled,
    count: () => count,
    acknowledge(watcherId, ofEpoch, revision) {
      if (ofEpoch !== epoch) return
      for (const watcher of acknowledging.get(watcherId) ?? [])
        if (revision > watcher.acknowledged && revision <= watcher.sent) watcher.acknowledged = revision
      heed()
    },
    acknowledged() {
      let lowest = updates.revision()
      for (const ofId of acknowledging.values())
        for (const watcher of ofId) {
          const applied = appliedBy(watcher)
          if (applied < lowest) lowest = applied
        }
      return lowest
    },
    whenAcknowledged(revision, waitMs) {
      if (haveApplied(revision)) return Promise.resolve(true)
      return new Promise((resolve) => {
        const end = (applied: boolean): void => {
          clearTimeout(timer)
          waiting.delete(check)
          resolve(applied)
        }
        const check = (): void => {
          if (haveApplied(revision)) end(true)
        }
        const timer = setTimeout(() => end(false), waitMs).unref()
        waiting.add(check)
      })
    },
    close() {
      closed = true
      wake()
    },
  }
}

/** `next` resolves with the next news or when `signal` aborts; to be asked only while it is not aborted yet. */
function listen(wakers: Set<() => void>, signal: AbortSignal): { next(): Promise<void>; end(): void } {
  let hear = (): void => {}
  const wake = (): void => hear()
  wakers.add(wake)
  signal.addEventListener('abort', wake, { once: true })
  return {
    next: () =>
      new Promise((resolve) => {
        hear = resolve
      }),
    end() {
      wakers.delete(wake)
      signal.removeEventListener('abort', wake)
    },
  }
}
