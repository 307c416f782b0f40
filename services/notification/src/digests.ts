import type { Tx } from './delivery-store.ts'
import type { NewDelivery, NewNotification } from './model.ts'
import { digestPeriod, type Preferences } from './preferences.ts'
import type { NotificationStore } from './store.ts'

/** Stands in the place of an event's name in a notification that tells of others. */
export const DIGEST_EVENT = 'docmesh.notification.v1.Digest'

const MAX_PERIODS = 3

interface DigestsDeps {
  readonly store: NotificationStore
  readonly ids: () => string
  readonly clock: () => Date
}

/**
 * A digest is a notification with one delivery that is due when its period ends: it is sent, repeated, given up and
 * sent again like any other. There is one per user, channel and period, since the period is the name of its event.
 */
export function createDigests({ store, ids, clock }: DigestsDeps) {
  return {
    /** Puts a notification into the digest of now; into the next one when that is on its way already. */
    async add(
      tx: Tx,
      entry: NewNotification,
      { digest, quietHours }: Preferences,
      delivery: NewDelivery,
    ): Promise<void> {
      if (digest === 'off') throw new Error('this user has no digest')
      const now = clock()
      let dueMs = 0
      for (let period = 0; period < MAX_PERIODS; period++) {
        const { key, dueMs: waitMs } = digestPeriod(
          new Date(now.getTime() + dueMs),
          digest,
          quietHours?.timeZone ?? 'UTC',
        )
        dueMs += waitMs
        const eventId = `digest:${delivery.channel}:${digest}:${key}`
        const digestId =
          (await store.openDigest(tx, entry, eventId, delivery)) ??
          (await open(tx, entry, eventId, { ...delivery, dueMs }))
        if (digestId !== undefined) return store.addToDigest(tx, digestId, entry.id)
      }
      throw new Error(`the next ${MAX_PERIODS} digests of a user are sent already: clocks disagree`)
    },
  }

  /** Undefined when there was one, and it is on its way. */
  async function open(
    tx: Tx,
    { tenantId, userId, locale, correlationId }: NewNotification,
    eventId: string,
    delivery: NewDelivery,
  ): Promise<string | undefined> {
    const digest: NewNotification = {
      tenantId,
      userId,
      locale,
      correlationId,
      id: ids(),
      eventId,
      eventType: DIGEST_EVENT,
      subjectType: '',
      subjectId: '',
      documentId: '',
      title: '',
      body: '',
      severity: 'info',
      incident: '',
      incidentVersion: 0n,
      resolves: false,
      facts: {},
      inFeed: false,
    }
    return (await store.insert(tx, digest, [delivery])) ? digest.id : undefined
  }
}
