import { NotificationCreated } from '@docmesh/contracts/notification/v1/events'
import type { Publish } from '@docmesh/events'
import { rpcError } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Claimed, Delivery, NewDelivery, Owner } from './model.ts'
import { type Channel, channelsFor, type Preferences, withDefaults } from './preferences.ts'
import type { NotificationStore, Tx } from './store.ts'
import { type Language, languageOf, type Text, testText } from './templates.ts'

export type Notifications = ReturnType<typeof createNotifications>

/** Whom to tell when a caller or an event names nobody: one feed that everybody without a name shares. */
export const ANONYMOUS = 'anonymous'

/** Stands in the place of an event's name in a notification that a user asks for as a sample. */
const TEST_EVENT = 'docmesh.notification.v1.SendTestNotification'

/** Something that a user asked to be told of. */
export interface News extends Owner {
  readonly eventId: string
  readonly eventType: string
  readonly correlationId: string
  readonly subjectType: string
  readonly subjectId: string
  readonly documentId: string
  readonly locale: string
  readonly text: (language: Language) => Text
}

export interface NotificationsDeps {
  readonly store: NotificationStore
  readonly publish: Publish
  /** Outside channels that this instance can send to. */
  readonly outside: readonly Channel[]
  /** Sends one claimed delivery and records how it went. */
  readonly deliver: (claimed: Claimed) => Promise<void>
  readonly leaseMs: number
  /** Empty for none. */
  readonly defaultEmail: string
  readonly ids: () => string
  readonly metrics: Metrics
}

/** Who is told of what, and by which ways. */
export function createNotifications({
  store,
  publish,
  outside,
  deliver,
  leaseMs,
  defaultEmail,
  ids,
  metrics,
}: NotificationsDeps) {
  const counter = metrics.counter('docmesh_notification_deliveries_total')
  const preferencesOf = async (owner: Owner, tx?: Tx): Promise<Preferences> =>
    withDefaults(await store.preferences(owner, tx), defaultEmail)
  const found = (delivery: Delivery | undefined, id: string): Delivery => {
    if (delivery) return delivery
    throw rpcError('DELIVERY_NOT_FOUND', `You have no delivery ${id}.`, {
      resource: { type: 'delivery', name: id },
    })
  }

  return {
    outside,

    /** Puts the news into its user's feed and queues it for each outside channel, in `tx`; once per event and user. */
    async tell(tx: Tx, { text, eventType, ...news }: News): Promise<void> {
      if (await store.lockDocument(tx, news.documentId)) return
      const preferences = await preferencesOf(news, tx)
      const wanted = channelsFor(preferences, eventType)
      const inFeed = wanted.some(({ channel }) => channel === 'in_app')
      const deliveries = wanted
        .filter(({ channel }) => outside.includes(channel))
        .map(({ channel, destination }): NewDelivery => ({ id: ids(), channel, destination }))
      for (const channel of ['in_app', ...outside] as const)
        if (!wanted.some((preference) => preference.channel === channel))
          counter.inc({ channel, outcome: 'suppressed' })
      if (!inFeed && deliveries.length === 0) return

      const id = ids()
      const locale = languageOf(preferences.locale || news.locale)
      const notification = { ...news, ...text(locale), id, eventType, locale, inFeed }
      if (!(await store.insert(tx, notification, deliveries))) {
        counter.inc({ channel: 'in_app', outcome: 'duplicate' })
        return
      }
      if (!inFeed) return
      counter.inc({ channel: 'in_app', outcome: 'delivered' })
      await publish(
        tx,
        NotificationCreated,
        { notificationId: id, userId: news.userId },
        {
          aggregateType: 'notification',
          aggregateId: id,
          tenantId: news.tenantId,
          userId: news.userId,
          correlationId: news.correlationId,
          causationId: news.eventId,
        },
      )
    },

    /** Deletes what is known of a document, and keeps it out when news of it come late. */
    async forget(tx: Tx, documentId: string): Promise<void> {
      if (!(await store.lockDocument(tx, documentId))) await store.erase(tx, documentId)
    },

    list: store.list,
    unreadCount: store.unreadCount,
    listDeliveries: store.listDeliveries,

    async markRead(owner: Owner, notificationIds: readonly string[]): Promise<number> {
      await store.markRead(owner, notificationIds)
      return store.unreadCount(owner)
    },

    preferences: (owner: Owner): Promise<Preferences> => preferencesOf(owner),

    async putPreferences(owner: Owner, preferences: Preferences): Promise<Preferences> {
      await store.putPreferences(owner, preferences)
      return preferencesOf(owner)
    },

    async retryDelivery(owner: Owner, id: string, requestId: string): Promise<Delivery> {
      const retried = await store.retry(owner, id, requestId)
      const delivery = found(await store.delivery(owner, id), id)
      if (retried) return delivery
      throw rpcError('DELIVERY_NOT_FAILED', `The delivery ${id} is ${delivery.state}, not failed.`)
    },

    /** Sends a sample past quiet hours and event filters, outside of the feed; one per request id. */
    async sendTest(owner: Owner, channel: Channel, requestId: string): Promise<Delivery> {
      const preferences = await preferencesOf(owner)
      const destination = preferences.channels.find((one) => one.channel === channel)?.destination
      if (!outside.includes(channel) || !destination)
        throw rpcError(
          'CHANNEL_NOT_CONFIGURED',
          outside.includes(channel)
            ? `Your preferences have no destination for ${channel}.`
            : `This installation does not send ${channel}.`,
        )
      const eventId = `test:${requestId || ids()}`
      const deliveryId = ids()
      const locale = languageOf(preferences.locale)
      const claimed = await store.transaction(async (tx) => {
        const notification = {
          ...owner,
          ...testText(locale),
          id: ids(),
          eventId,
          eventType: TEST_EVENT,
          correlationId: eventId,
          subjectType: '',
          subjectId: '',
          documentId: '',
          locale,
          inFeed: false,
        }
        if (!(await store.insert(tx, notification, [{ id: deliveryId, channel, destination }])))
          return undefined
        return store.claim({ leaseId: ids(), ms: leaseMs }, { channels: [channel], deliveryId, on: tx })
      })
      if (claimed) await deliver(claimed)
      return found(await store.deliveryOfEvent(owner, eventId), deliveryId)
    },
  }
}
