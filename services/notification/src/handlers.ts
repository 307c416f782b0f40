import type { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { type CallContext, checkText, type Handlers, invalidRequest, pageFrom, readPage } from '@docmesh/rpc'
import type { LiveFeed } from './live-feed.ts'
import type { Owner } from './model.ts'
import { ANONYMOUS, type Notifications } from './notifications.ts'
import { OUTSIDE_CHANNELS } from './preferences.ts'
import {
  channelOf,
  deliveryMessage,
  notificationMessage,
  oneOfChannels,
  preferencesFrom,
  preferencesMessage,
  statesOf,
} from './wire.ts'

const MAX_IDS = 1_000
const SEQ = /^\d{1,18}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const ownerOf = ({ tenantId, userId }: CallContext): Owner => ({ tenantId, userId: userId || ANONYMOUS })

/** NotificationService: wire ↔ domain. Users see what is theirs; a call without a user is that of `anonymous`. */
export const notificationHandlers = (
  notifications: Notifications,
  feed: LiveFeed,
): Handlers<typeof NotificationServiceDefinition> => ({
  async listNotifications(request, call) {
    const owner = ownerOf(call)
    const { size, after } = readPage(request, (key) => SEQ.test(key))
    const before = after === '' ? undefined : BigInt(after)
    const [found, unreadCount] = await Promise.all([
      notifications.list(owner, { before, unreadOnly: request.unreadOnly, limit: size + 1 }),
      notifications.unreadCount(owner),
    ])
    const { items, nextPageToken } = pageFrom(found, size, ({ seq }) => String(seq))
    return { notifications: items.map(notificationMessage), nextPageToken, unreadCount }
  },
  async *watchNotifications({ afterId }, call) {
    checkText('after_id', afterId)
    for await (const { notification, unreadCount } of feed.watch(ownerOf(call), afterId, call.signal))
      yield { notification: notificationMessage(notification), unreadCount }
  },
  async markNotificationsRead({ notificationIds }, call) {
    if (notificationIds.length > MAX_IDS)
      throw invalidRequest([{ field: 'notification_ids', description: `at most ${MAX_IDS}` }])
    for (const [index, id] of notificationIds.entries()) checkText(`notification_ids[${index}]`, id)
    return { unreadCount: await notifications.markRead(ownerOf(call), notificationIds) }
  },
  async getPreferences(_request, call) {
    return { preferences: preferencesMessage(await notifications.preferences(ownerOf(call))) }
  },
  async putPreferences({ preferences }, call) {
    const owner = ownerOf(call)
    const present = { stored: await notifications.storedPreferences(owner), defaults: notifications.defaults }
    const put = await notifications.putPreferences(owner, preferencesFrom(preferences, present))
    return { preferences: preferencesMessage(put) }
  },
  async listDeliveries(request, call) {
    checkText('notification_id', request.notificationId)
    const { size, after } = readPage(request, (key) => UUID.test(key))
    const found = await notifications.listDeliveries(ownerOf(call), {
      before: after,
      notificationId: request.notificationId,
      states: statesOf(request.states),
      limit: size + 1,
    })
    const { items, nextPageToken } = pageFrom(found, size, ({ id }) => id)
    return { deliveries: items.map(deliveryMessage), nextPageToken }
  },
  async retryDelivery({ deliveryId, requestId }, call) {
    checkText('delivery_id', deliveryId)
    checkText('request_id', requestId)
    const delivery = await notifications.retryDelivery(ownerOf(call), deliveryId, requestId)
    return { delivery: deliveryMessage(delivery) }
  },
  async sendTestNotification({ channel, requestId }, call) {
    checkText('request_id', requestId)
    const known = channelOf(channel)
    if (known === undefined || known === 'in_app')
      throw invalidRequest([{ field: 'channel', description: oneOfChannels(OUTSIDE_CHANNELS) }])
    return { delivery: deliveryMessage(await notifications.sendTest(ownerOf(call), known, requestId)) }
  },
})
