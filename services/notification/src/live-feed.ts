import { rpcError } from '@docmesh/rpc'
import { createBell } from './bell.ts'
import type { Notification, Owner } from './model.ts'
import { feedKey, type NotificationStore } from './store.ts'

const BATCH = 100

export interface LiveFeed {
  /** New notifications of a user as they are committed, beginning after `afterId`; ends when the signal aborts. */
  watch(
    owner: Owner,
    afterId: string,
    signal: AbortSignal,
  ): AsyncGenerator<{ notification: Notification; unreadCount: number }>
  /** Calls `listener` at all news, for whoever works on what they bring. */
  onNews(listener: () => void): void
  /** Ends every watch with SHUTTING_DOWN. */
  close(): Promise<void>
}

/** The feeds of this service, live: instances tell each other through the database that there is something to read. */
export async function openLiveFeed(store: NotificationStore): Promise<LiveFeed> {
  const closing = new AbortController()
  const watchers = new Map<string, Set<() => void>>()
  const listeners: (() => void)[] = []
  const listener = await store.listen((key) => {
    for (const rings of key === '' ? watchers.values() : [watchers.get(key) ?? []])
      for (const ring of rings) ring()
    for (const heard of listeners) heard()
  })

  const subscribe = (key: string, ring: () => void): (() => void) => {
    const rings = watchers.get(key) ?? new Set()
    watchers.set(key, rings.add(ring))
    return () => {
      rings.delete(ring)
      if (rings.size === 0) watchers.delete(key)
    }
  }

  const positionOf = async (owner: Owner, afterId: string): Promise<bigint> => {
    const seq = await (afterId === '' ? store.lastSeq(owner) : store.seqOf(owner, afterId))
    if (seq !== undefined) return seq
    throw rpcError('NOTIFICATION_NOT_FOUND', `You have no notification ${afterId}: watch without after_id.`, {
      resource: { type: 'notification', name: afterId },
    })
  }

  return {
    async *watch(owner, afterId, caller) {
      const signal = AbortSignal.any([caller, closing.signal])
      const bell = createBell()
      const unsubscribe = subscribe(feedKey(owner), bell.ring)
      try {
        let position = await positionOf(owner, afterId)
        while (!signal.aborted) {
          const batch = await store.listAfter(owner, position, BATCH)
          const unreadCount = batch.length > 0 ? await store.unreadCount(owner) : 0
          for (const notification of batch) {
            yield { notification, unreadCount }
            position = notification.seq
          }
          if (batch.length < BATCH) await bell.rest(signal)
        }
      } finally {
        unsubscribe()
      }
      if (!caller.aborted) throw rpcError('SHUTTING_DOWN', 'This instance is ending: watch another one.')
    },
    onNews: (heard) => void listeners.push(heard),
    close: () => {
      closing.abort()
      return listener.close()
    },
  }
}
