import { Channel, DeliveryState, DigestFrequency } from '@docmesh/contracts/notification/v1/notification'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { startMailServer } from './mail-server.fixture.ts'
import { type Instance, newsOf, startInstance } from './world.fixture.ts'

let database: TestDatabase
let instance: Instance
beforeEach(async () => {
  database = await testDatabase()
  instance = await startInstance({ databaseUrl: database.url })
})
afterEach(async () => {
  await instance.close()
  await database.close()
})

let count = 0
/** Puts an entry into a feed and says its id. */
const tell = async (userId: string, { on = instance, tenantId = 'acme' } = {}): Promise<string> => {
  const subjectId = `s${count++}`
  await on.db.transaction((tx) =>
    on.notifications.tell(
      tx,
      newsOf(subjectId, { tenantId, userId, subjectId, text: () => ({ title: subjectId, body: '' }) }),
    ),
  )
  return subjectId
}
const tellMany = async (userId: string, times: number): Promise<string[]> => {
  const told: string[] = []
  for (let n = 0; n < times; n++) told.push(await tell(userId))
  return told
}
const subjects = (notifications: readonly { subjectId: string }[]) =>
  notifications.map(({ subjectId }) => subjectId)

it('pages through a feed newest first while new entries come', async () => {
  const told = await tellMany('ana', 5)
  const ana = instance.as('ana')
  const first = await ana.listNotifications({ pageSize: 2 })
  await tell('ana')
  const second = await ana.listNotifications({ pageSize: 2, pageToken: first.nextPageToken })
  const third = await ana.listNotifications({ pageSize: 2, pageToken: second.nextPageToken })
  const pages = [first, second, third]
  expect(pages.flatMap(({ notifications }) => subjects(notifications))).toEqual(told.toReversed())
  expect(pages.map(({ unreadCount }) => unreadCount)).toEqual([5, 6, 6])
  expect(third.nextPageToken).toBe('')
})

it('refuses page sizes and tokens that make no sense', async () => {
  const ana = instance.as('ana')
  for (const call of [ana.listNotifications, ana.listDeliveries]) {
    await expect(call({ pageSize: -1 })).rejects.toMatchObject({ reason: 'INVALID_REQUEST' })
    await expect(call({ pageSize: 1_001 })).rejects.toMatchObject({ reason: 'INVALID_REQUEST' })
    await expect(call({ pageToken: 'nonsense' })).rejects.toMatchObject({ reason: 'INVALID_PAGE_TOKEN' })
  }
  await expect(ana.listDeliveries({ states: [DeliveryState.UNSPECIFIED] })).rejects.toMatchObject({
    reason: 'INVALID_REQUEST',
  })
})

it('refuses texts that the database cannot take, and says which', async () => {
  const ana = instance.as('ana')
  const long = Array.from({ length: 4_000 }, (_, n) => n.toString(36)).join('')
  for (const [call, field] of [
    [() => ana.markNotificationsRead({ notificationIds: ['x', '\0'] }), 'notification_ids[1]'],
    [() => Array.fromAsync(ana.watchNotifications({ afterId: '\0' })), 'after_id'],
    [() => ana.listDeliveries({ notificationId: '\0' }), 'notification_id'],
    [() => ana.retryDelivery({ deliveryId: '\0', requestId: 'r' }), 'delivery_id'],
    [() => ana.retryDelivery({ deliveryId: 'x', requestId: '\0' }), 'request_id'],
    [() => ana.sendTestNotification({ channel: Channel.SLACK, requestId: long }), 'request_id'],
  ] as const)
    await expect(call()).rejects.toMatchObject({
      reason: 'INVALID_REQUEST',
      options: { fields: [{ field, description: expect.stringContaining('characters') }] },
    })
})

it('refuses more channels than there are without a word on each', async () => {
  const channels = Array.from({ length: 20_000 }, () => ({ channel: Channel.UNSPECIFIED, enabled: true }))
  await expect(instance.as('ana').putPreferences({ preferences: { channels } })).rejects.toMatchObject({
    reason: 'INVALID_REQUEST',
  })
})

it('marks some or all as read, and only those of the calling user', async () => {
  await tellMany('ana', 3)
  await tell('rui')
  const ana = instance.as('ana')
  const { notifications } = await ana.listNotifications({})
  const [newest, middle] = notifications.map(({ id }) => id)
  const some = { notificationIds: [newest ?? '', 'unknown'] }
  expect(await instance.as('rui').markNotificationsRead(some)).toEqual({ unreadCount: 1 })
  expect(await ana.markNotificationsRead(some)).toEqual({ unreadCount: 2 })
  const unread = await ana.listNotifications({ unreadOnly: true })
  expect(unread.notifications[0]?.id).toBe(middle)
  expect(unread.notifications).toHaveLength(2)
  expect(await ana.markNotificationsRead({})).toEqual({ unreadCount: 0 })
  const { notifications: all } = await ana.listNotifications({})
  expect(all.every(({ readAt }) => readAt instanceof Date)).toBe(true)
})

it('keeps tenants apart that have users of the same name', async () => {
  await tell('ana', { tenantId: 'other' })
  expect((await instance.as('ana').listNotifications({})).notifications).toEqual([])
  expect((await instance.as('ana', 'other').listNotifications({})).notifications).toHaveLength(1)
})

it('returns stored preferences with the defaults of the rest', async () => {
  const ana = instance.as('ana')
  const quietHours = { start: '22:00', end: '07:00', timeZone: 'America/Sao_Paulo' }
  const inApp = { channel: Channel.IN_APP, enabled: true, destination: '', eventTypes: [] }
  const email = { channel: Channel.EMAIL, enabled: true, destination: 'ana@example.com', eventTypes: [] }
  const off = [Channel.SLACK, Channel.TEAMS, Channel.WEBHOOK, Channel.PAGERDUTY, Channel.OPSGENIE].map(
    (channel) => ({ channel, enabled: false, destination: '', eventTypes: [] }),
  )
  expect((await ana.getPreferences({})).preferences?.channels).toEqual([
    inApp,
    { ...email, enabled: false, destination: '' },
    ...off,
  ])
  const digest = DigestFrequency.DAILY
  await ana.putPreferences({ preferences: { locale: 'pt-BR', channels: [email], quietHours, digest } })
  const { preferences } = await ana.getPreferences({})
  expect(preferences).toMatchObject({ locale: 'pt-BR', channels: [inApp, email, ...off], quietHours, digest })
  const back = await ana.putPreferences({ preferences: preferences ?? {} })
  expect(back.preferences).toEqual(preferences)
  await expect(
    ana.putPreferences({ preferences: { channels: [{ channel: Channel.PAGERDUTY, enabled: true }] } }),
  ).rejects.toMatchObject({
    reason: 'INVALID_REQUEST',
    message: expect.stringContaining('write the integration key (routing key)'),
  })
})

it('shows no secret of a destination, and keeps the one whose mask comes back', async () => {
  const ana = instance.as('ana')
  const secrets = {
    [Channel.SLACK]: 'https://hooks.slack.com/services/T0/B0/s3cret',
    [Channel.TEAMS]: 'https://teams.example.com/workflows/s3cret?sig=s3cret',
    [Channel.WEBHOOK]: 'https://example.com/hooks/s3cret#s3cret-s3cret-s3cret',
    [Channel.PAGERDUTY]: '0123456789abcdef0123456789s3cret',
    [Channel.OPSGENIE]: 's3cret12-faa2-4ba2-a551-1afdf565c889',
  }
  const channels = Object.entries(secrets).map(([channel, destination]) => ({
    channel: Number(channel) as Channel,
    enabled: true,
    destination,
  }))
  const put = await ana.putPreferences({ preferences: { channels } })
  const shown = put.preferences?.channels.flatMap(({ destination }) => destination || [])
  expect(shown).toEqual([
    'https://hooks.slack.com/…',
    'https://teams.example.com/…',
    'https://example.com/…',
    '…cret',
    '…c889',
  ])
  const back = await ana.putPreferences({ preferences: { ...put.preferences, locale: 'en' } })
  expect(back.preferences).toEqual({ ...put.preferences, locale: 'en' })
  const stored = await instance.store.preferences({ tenantId: 'acme', userId: 'ana' })
  expect(stored?.channels.flatMap(({ destination }) => destination || [])).toEqual(Object.values(secrets))
  const other = { channel: Channel.SLACK, enabled: true, destination: 'https://hooks.example.com/…' }
  await expect(ana.putPreferences({ preferences: { channels: [other] } })).rejects.toMatchObject({
    reason: 'INVALID_REQUEST',
  })
})

it('sends a sample to a channel that is set up, once per request id, past the feed', async () => {
  await using mail = await startMailServer()
  await using sending = await startInstance({ databaseUrl: database.url, email: { url: mail.url } })
  const ana = sending.as('ana')
  const sample = { channel: Channel.EMAIL, requestId: 'r1' }
  await expect(ana.sendTestNotification(sample)).rejects.toMatchObject({ reason: 'CHANNEL_NOT_CONFIGURED' })
  const channels = [{ channel: Channel.EMAIL, enabled: true, destination: 'ana@example.com' }]
  await ana.putPreferences({ preferences: { channels, locale: 'pt-BR' } })
  const { delivery } = await ana.sendTestNotification(sample)
  expect(delivery).toMatchObject({
    state: DeliveryState.DELIVERED,
    attempts: 1,
    destination: 'ana@example.com',
  })
  expect((await ana.sendTestNotification(sample)).delivery).toEqual(delivery)
  expect(mail.mails.map(({ headers }) => headers.get('subject'))).toEqual(['Teste de notificação'])
  expect((await ana.listNotifications({})).notifications).toEqual([])
  await expect(instance.as('ana').sendTestNotification({ ...sample, requestId: 'r2' })).rejects.toMatchObject(
    {
      reason: 'CHANNEL_NOT_CONFIGURED',
    },
  )
  await expect(ana.sendTestNotification({ channel: Channel.IN_APP })).rejects.toMatchObject({
    reason: 'INVALID_REQUEST',
  })
})

it('streams what comes after an entry without a gap or a repeat, whichever instance it came through', async () => {
  const other = await startInstance({ databaseUrl: database.url })
  try {
    const told = await tellMany('ana', 3)
    const { notifications } = await instance.as('ana').listNotifications({})
    const afterId = notifications.at(-1)?.id ?? ''
    const seen: string[] = []
    const aborter = new AbortController()
    const reading = (async () => {
      for await (const { notification } of instance
        .as('ana')
        .watchNotifications({ afterId }, { signal: aborter.signal }))
        seen.push(notification?.subjectId ?? '')
    })()
    await eventually(() => expect(seen).toEqual(told.slice(1)))
    const writers = [instance, other].map(async (on) => {
      for (let n = 0; n < 20; n++) await tell('ana', { on })
    })
    await tell('rui')
    await Promise.all(writers)
    const { notifications: all } = await instance.as('ana').listNotifications({})
    await eventually(() => expect(seen).toEqual(subjects(all).toReversed().slice(1)))
    const ended = expect(reading).rejects.toMatchObject({ reason: 'CANCELLED' })
    aborter.abort()
    await ended
  } finally {
    await other.close()
  }
})

it('goes on after the last entry seen when a watch is opened again, on another instance', async () => {
  const other = await startInstance({ databaseUrl: database.url })
  try {
    const told = await tellMany('ana', 4)
    const { notifications } = await instance.as('ana').listNotifications({})
    let afterId = notifications.at(-1)?.id ?? ''
    const seen: string[] = []
    for (const on of [instance, other, instance])
      for await (const { notification } of on.as('ana').watchNotifications({ afterId })) {
        afterId = notification?.id ?? ''
        seen.push(notification?.subjectId ?? '')
        break
      }
    expect(seen).toEqual(told.slice(1))
  } finally {
    await other.close()
  }
})

it('does not step over an entry whose transaction commits late', async () => {
  await tell('ana')
  const { notifications } = await instance.as('ana').listNotifications({})
  const stream = instance.as('ana').watchNotifications({ afterId: notifications[0]?.id ?? '' })
  const iterator = stream[Symbol.asyncIterator]()
  const first = iterator.next()
  const commit = Promise.withResolvers<void>()
  const written = Promise.withResolvers<void>()
  const late = instance.db.transaction(async (tx) => {
    await instance.notifications.tell(tx, newsOf('late', { subjectId: 'late' }))
    written.resolve()
    await commit.promise
  })
  await written.promise
  const early = instance.db.transaction((tx) =>
    instance.notifications.tell(tx, newsOf('early', { subjectId: 'early', documentId: 'd2' })),
  )
  const blocked = eventually(async () => {
    const waiting = await instance.db.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    expect(waiting).toHaveLength(1)
  })
  await Promise.race([early, blocked])
  commit.resolve()
  await Promise.all([late, early])
  const seen = [await first, await iterator.next()]
  expect(seen.map(({ value }) => value?.notification?.subjectId)).toEqual(['late', 'early'])
  await iterator.return?.()
})

it('refuses to watch after an entry that the user does not have', async () => {
  await tell('rui')
  const { notifications } = await instance.as('rui').listNotifications({})
  for (const afterId of ['nonsense', notifications[0]?.id ?? ''])
    await expect(Array.fromAsync(instance.as('ana').watchNotifications({ afterId }))).rejects.toMatchObject({
      reason: 'NOTIFICATION_NOT_FOUND',
    })
})

it('ends a watch when the instance stops', async () => {
  await tell('ana')
  const { notifications } = await instance.as('ana').listNotifications({})
  await tell('ana')
  const seen: string[] = []
  const reading = (async () => {
    for await (const { notification } of instance
      .as('ana')
      .watchNotifications({ afterId: notifications[0]?.id ?? '' }))
      seen.push(notification?.subjectId ?? '')
  })()
  await eventually(() => expect(seen).toHaveLength(1))
  const ended = expect(reading).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' })
  await instance.feed.close()
  await ended
})
