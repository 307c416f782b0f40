import { NotificationCreated } from '@docmesh/contracts/notification/v1/events'
import type { Publish } from '@docmesh/events'
import { rpcError } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Senders } from './channel.ts'
import type { Tx } from './delivery-store.ts'
import { createDigests } from './digests.ts'
import type { Claimed, Delivery, Incident, NewDelivery, NewNotification, Owner } from './model.ts'
import {
  type ChannelPreference,
  canWait,
  channelsFor,
  type DefaultDestinations,
  type OutsideChannel,
  PAGERS,
  type Preferences,
  withDefaults,
} from './preferences.ts'
import type { NotificationStore } from './store.ts'
import { testText } from './templates/own.ts'
import { type Language, languageOf, type Text } from './templates/text.ts'

export type Notifications = ReturnType<typeof createNotifications>

/** Whom to tell when a caller or an event names nobody: one feed that everybody without a name shares. */
export const ANONYMOUS = 'anonymous'

/** Stands in the place of an event's name in a notification that a user asks for as a sample. */
const TEST_EVENT = 'docmesh.notification.v1.SendTestNotification'

/** Something that a user is told of. */
export interface News extends Omit<NewNotification, 'id' | 'title' | 'body' | 'inFeed'> {
  /** Only by channels that name the event. */
  readonly onlyIfNamed: boolean
  readonly text: (language: Language) => Text
}

export interface NotificationsDeps {
  readonly store: NotificationStore
  readonly publish: Publish
  /** Ways out that this instance has. */
  readonly senders: Senders
  /** Sends one claimed delivery and records how it went. */
  readonly deliver: (claimed: Claimed) => Promise<void>
  readonly leaseMs: number
  readonly defaults: DefaultDestinations
  readonly ids: () => string
  readonly clock: () => Date
  readonly metrics: Metrics
}

const NO_INCIDENT: Incident = { incident: '', incidentVersion: 0n, resolves: false }

/** Who is told of what, and by which ways. */
export function createNotifications({
  store,
  publish,
  senders,
  deliver,
  leaseMs,
  defaults,
  ids,
  clock,
  metrics,
}: NotificationsDeps) {
  const digests = createDigests({ store, ids, clock })
  const counter = metrics.counter('docmesh_notification_deliveries_total')
  const preferencesOf = async (owner: Owner, tx?: Tx): Promise<Preferences> =>
    withDefaults(await store.preferences(owner, tx), defaults)
  const found = (delivery: Delivery | undefined, id: string): Delivery => {
    if (delivery) return delivery
    throw rpcError('DELIVERY_NOT_FOUND', `You have no delivery ${id}.`, {
      resource: { type: 'delivery', name: id },
    })
  }

  const deliveryBy = (
    { channel, destination }: Outside,
    owner: Owner,
    { incident }: Incident,
  ): NewDelivery => ({
    id: ids(),
    channel,
    destination,
    server: senders.get(channel)?.server(destination) ?? '',
    thread:
      incident !== '' && PAGERS.includes(channel)
        ? JSON.stringify([channel, owner.tenantId, owner.userId, incident])
        : '',
    dueMs: 0,
  })

  return {
    /** Puts the news into its user's feed and queues it for each outside channel, in `tx`; once per event and user. */
    async tell(tx: Tx, { text, onlyIfNamed, ...news }: News): Promise<void> {
      if (news.documentId !== '' && (await store.lockDocument(tx, news.documentId))) return
      const preferences = await preferencesOf(news, tx)
      const wanted = channelsFor(preferences, news.eventType, { onlyIfNamed })
      const inFeed = wanted.some(({ channel }) => channel === 'in_app')
      const outside = wanted.filter(isOutside).filter(({ channel }) => senders.has(channel))
      for (const preference of preferences.channels)
        if (preference.enabled && !wanted.includes(preference))
          counter.inc({ channel: preference.channel, outcome: 'suppressed' })
      if (!inFeed && outside.length === 0) return

      const id = ids()
      const locale = languageOf(preferences.locale || news.locale)
      const notification = { ...news, ...text(locale), id, locale, inFeed }
      const waits = ({ channel }: Outside) => canWait(preferences, channel, news)
      const deliveries = outside.filter((one) => !waits(one)).map((one) => deliveryBy(one, news, news))
      if (!(await store.insert(tx, notification, deliveries))) {
        counter.inc({ channel: 'in_app', outcome: 'duplicate' })
        return
      }
      for (const one of outside.filter(waits))
        await digests.add(tx, notification, preferences, deliveryBy(one, news, NO_INCIDENT))
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

    /** With what this installation fills in where users name no destination. */
    preferences: (owner: Owner): Promise<Preferences> => preferencesOf(owner),
    /** As the user stored them. */
    storedPreferences: (owner: Owner): Promise<Preferences | undefined> => store.preferences(owner),
    defaults,

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
    async sendTest(owner: Owner, channel: OutsideChannel, requestId: string): Promise<Delivery> {
      const preferences = await preferencesOf(owner)
      const destination = preferences.channels.find((one) => one.channel === channel)?.destination
      if (!senders.has(channel) || !destination)
        throw rpcError(
          'CHANNEL_NOT_CONFIGURED',
          senders.has(channel)
            ? `Your preferences have no destination for ${channel}.`
            : `This installation does not send ${channel}.`,
        )
      const eventId = `test:${requestId || ids()}`
      const delivery = deliveryBy({ channel, destination }, owner, NO_INCIDENT)
      const locale = languageOf(preferences.locale)
      const claimed = await store.transaction(async (tx) => {
        const notification = {
          ...owner,
          ...testText(locale),
          ...NO_INCIDENT,
          id: ids(),
          eventId,
          eventType: TEST_EVENT,
          correlationId: eventId,
          subjectType: '',
          subjectId: '',
          documentId: '',
          severity: 'info' as const,
          facts: {},
          locale,
          inFeed: false,
        }
        if (!(await store.insert(tx, notification, [delivery]))) return undefined
        return store.claim(
          { leaseId: ids(), ms: leaseMs },
          { channels: [channel], deliveryId: delivery.id, on: tx },
        )
      })
      if (claimed) await deliver(claimed)
      return found(await store.deliveryOfEvent(owner, eventId), delivery.id)
    },
  }
}

type Outside = Pick<ChannelPreference, 'destination'> & { readonly channel: OutsideChannel }

const isOutside = (preference: ChannelPreference): preference is ChannelPreference & Outside =>
  preference.channel !== 'in_app'
