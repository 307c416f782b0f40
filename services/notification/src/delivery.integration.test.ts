import { Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import { Channel, DeliveryState } from '@docmesh/contracts/notification/v1/notification'
import { eventually, tcpProxy, testDatabase } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { openEmail } from './email.ts'
import { startHttpServer } from './http-server.fixture.ts'
import { type MailServer, smtpAnswer, startMailServer } from './mail-server.fixture.ts'
import { type Instance, type InstanceOptions, newsOf, startInstance } from './world.fixture.ts'

interface World extends AsyncDisposable {
  readonly mail: MailServer
  start(options?: Partial<InstanceOptions>): Promise<Instance>
}

async function openWorld(users?: Record<string, string>): Promise<World> {
  const stack = new AsyncDisposableStack()
  const { url: databaseUrl } = stack.use(await testDatabase())
  const mail = stack.use(await startMailServer(users ? { users } : {}))
  return {
    mail,
    start: async (options) =>
      stack.use(await startInstance({ databaseUrl, email: { url: mail.url }, ...options })),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const wantEmail = async (instance: Instance, user = 'ana', extra = {}) => {
  const channels = [{ channel: Channel.EMAIL, enabled: true, destination: `${user}@example.com` }]
  await instance.as(user).putPreferences({ preferences: { channels, ...extra } })
}
const deliveriesOf = async (instance: Instance, user = 'ana') =>
  (await instance.as(user).listDeliveries({})).deliveries
const feedOf = async (instance: Instance, user = 'ana') =>
  (await instance.as(user).listNotifications({})).notifications
const whenDelivered = (instance: Instance, user = 'ana') =>
  eventually(async () =>
    expect(await deliveriesOf(instance, user)).toMatchObject([{ state: DeliveryState.DELIVERED }]),
  )

it('makes one entry and one email in the language asked for out of a completion', async () => {
  await using world = await openWorld()
  const instance = await world.start({ publicUrl: 'https://docs.test/app/' })
  await wantEmail(instance)
  const event = await instance.completed({ verdict: Verdict.PASS, score: 97, locale: 'pt-BR' })
  await whenDelivered(instance)

  const [entry, ...others] = await feedOf(instance)
  expect(others).toEqual([])
  expect(entry).toMatchObject({
    userId: 'ana',
    eventType: 'docmesh.analysis.v1.AnalysisCompleted',
    subjectType: 'analysis',
    subjectId: 'a1',
    title: 'Análise concluída: “contrato.pdf” está conforme',
    body: 'Pontuação: 97 de 100.',
    locale: 'pt-BR',
    readAt: undefined,
  })
  const [delivery] = await deliveriesOf(instance)
  expect(delivery).toMatchObject({
    notificationId: entry?.id,
    channel: Channel.EMAIL,
    attempts: 1,
    lastError: '',
  })
  expect(world.mail.mails).toHaveLength(1)
  const [mail] = world.mail.mails
  expect(mail).toMatchObject({ from: 'noreply@docmesh.test', to: ['ana@example.com'] })
  expect(Object.fromEntries(mail?.headers ?? [])).toMatchObject({
    from: 'docmesh <noreply@docmesh.test>',
    to: 'ana@example.com',
    subject: 'Análise concluída: “contrato.pdf” está conforme',
    'message-id': `<${delivery?.id}@docmesh.test>`,
    'content-language': 'pt-BR',
    'auto-submitted': 'auto-generated',
  })
  expect(mail?.text).toContain('Pontuação: 97 de 100.')
  expect(mail?.text).toContain('https://docs.test/app/analyses/a1')
  expect(mail?.html).toContain('<html lang="pt-BR">')
  expect(await instance.told()).toEqual(['NotificationCreated', 'NotificationDelivered'])
  const [created] = await instance.events.history('notification', entry?.id ?? '')
  expect(created).toMatchObject({
    causationId: event.id,
    correlationId: event.correlationId,
    tenantId: 'acme',
    userId: 'ana',
  })
  expect(await instance.outcomes()).toEqual([
    'docmesh_notification_deliveries_total{channel="in_app",outcome="delivered"} 1',
    'docmesh_notification_deliveries_total{channel="email",outcome="delivered"} 1',
  ])
})

it('leaves one entry and one email when the same event comes twice', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await wantEmail(instance)
  await instance.completed()
  await whenDelivered(instance)
  await instance.db.query('delete from events.inbox; delete from events.cursors')
  await instance.failed({ analysisId: 'a2', requestedBy: 'rui' })
  await eventually(async () =>
    expect(await instance.outcomes()).toContain(
      'docmesh_notification_deliveries_total{channel="in_app",outcome="duplicate"} 1',
    ),
  )
  expect(await feedOf(instance)).toHaveLength(1)
  expect(await deliveriesOf(instance)).toHaveLength(1)
  expect(world.mail.mails).toHaveLength(1)
  expect((await instance.told()).filter((type) => type === 'NotificationDelivered')).toHaveLength(1)
})

it('tells nobody who did not ask, and puts what nobody in particular asked for into the feed of anonymous', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await instance.completed({ analysisId: 'unasked', notify: false })
  await instance.completed({ analysisId: 'nobody', requestedBy: '' })
  await instance.failed({
    analysisId: 'failed',
    failure: { step: 'ocr', reason: 'X', message: 'Y', retryable: false },
  })
  await eventually(async () => {
    expect(await feedOf(instance, '')).toMatchObject([{ subjectId: 'nobody', userId: 'anonymous' }])
    expect(await feedOf(instance)).toMatchObject([
      { subjectId: 'failed', body: 'Y\nStep: ocr; attempts: 0.' },
    ])
  })
})

it('goes by the preferences: channel, event type, language', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  const destination = 'ana@example.com'
  await instance.as('ana').putPreferences({
    preferences: {
      locale: 'en',
      channels: [
        { channel: Channel.IN_APP, enabled: false },
        {
          channel: Channel.EMAIL,
          enabled: true,
          destination,
          eventTypes: ['docmesh.analysis.v1.AnalysisFailed'],
        },
      ],
    },
  })
  await instance.completed({ locale: 'pt-BR' })
  await instance.failed({ locale: 'pt-BR' })
  await whenDelivered(instance)
  expect(world.mail.mails.map(({ headers }) => headers.get('subject'))).toEqual([
    'The analysis of “contrato.pdf” failed',
  ])
  expect(await feedOf(instance)).toEqual([])
  expect(await instance.told()).toEqual(['NotificationDelivered'])
})

it('cannot be made to write other headers by the name of a document', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await wantEmail(instance)
  await instance.completed({ documentName: 'x.pdf\r\nBcc: eve@example.com\r\n\r\nhello' })
  await whenDelivered(instance)
  const [mail] = world.mail.mails
  expect(mail?.to).toEqual(['ana@example.com'])
  expect(mail?.headers.has('bcc')).toBe(false)
  expect(mail?.headers.get('subject')).toContain('“x.pdf Bcc: eve@example.com hello”')
})

it('delivers after the mail server has come back, the circuit breaker included', async () => {
  await using world = await openWorld()
  await using proxy = await tcpProxy(world.mail.url)
  proxy.cut()
  const breaker = { trip: { kind: 'CONSECUTIVE', failureThreshold: 3 }, openMs: 30, probes: 1 } as const
  const instance = await world.start({ email: { url: proxy.url }, servers: { breaker }, maxAttempts: 100 })
  await wantEmail(instance)
  await instance.completed()
  await eventually(async () => {
    const [delivery] = await deliveriesOf(instance)
    expect(delivery).toMatchObject({ state: DeliveryState.PENDING, deliveredAt: undefined })
    expect(delivery?.attempts).toBeGreaterThan(3)
    expect(delivery?.lastError).not.toBe('')
  })
  proxy.restore()
  await whenDelivered(instance)
  expect(world.mail.mails).toHaveLength(1)
  expect(await deliveriesOf(instance)).toMatchObject([{ lastError: '', nextAttemptAt: undefined }])
})

it('gives up after the last attempt, and tries again when asked', async () => {
  await using world = await openWorld()
  world.mail.recipient = () => Promise.reject(smtpAnswer(451, 'try later'))
  const instance = await world.start({ maxAttempts: 3 })
  await wantEmail(instance)
  await instance.completed()
  await eventually(async () =>
    expect(await deliveriesOf(instance)).toMatchObject([{ state: DeliveryState.FAILED, attempts: 3 }]),
  )
  world.mail.recipient = async () => {}
  const [delivery] = await deliveriesOf(instance)
  const retry = { deliveryId: delivery?.id ?? '', requestId: 'r1' }
  const answer = await instance.as('ana').retryDelivery(retry)
  expect(answer.delivery).toMatchObject({ id: delivery?.id, attempts: 0 })
  await whenDelivered(instance)
  expect(world.mail.mails).toHaveLength(1)
  expect((await instance.as('ana').retryDelivery(retry)).delivery?.state).toBe(DeliveryState.DELIVERED)
  await expect(instance.as('ana').retryDelivery({ ...retry, requestId: 'r2' })).rejects.toMatchObject({
    reason: 'DELIVERY_NOT_FAILED',
  })
  await expect(instance.as('eve').retryDelivery(retry)).rejects.toMatchObject({
    reason: 'DELIVERY_NOT_FOUND',
  })
})

it('gives up at once when the server says that it never will', async () => {
  await using world = await openWorld()
  world.mail.recipient = () => Promise.reject(smtpAnswer(550, 'no such mailbox'))
  const instance = await world.start()
  await wantEmail(instance)
  await instance.completed()
  await eventually(async () =>
    expect(await deliveriesOf(instance)).toMatchObject([{ state: DeliveryState.FAILED, attempts: 1 }]),
  )
  const [delivery] = await deliveriesOf(instance)
  expect(delivery?.lastError).toContain('550 no such mailbox')
  expect(await instance.told()).toEqual(['NotificationCreated', 'NotificationFailed'])
})

it('takes a refused login for a fault of the set-up, not of the message', async () => {
  await using world = await openWorld({ docmesh: 'right' })
  const url = world.mail.url.replace('://', '://docmesh:wrong@')
  const instance = await world.start({ email: { url }, maxAttempts: 2 })
  await wantEmail(instance)
  await instance.completed()
  await eventually(async () =>
    expect(await deliveriesOf(instance)).toMatchObject([{ state: DeliveryState.FAILED, attempts: 2 }]),
  )
  await instance.close()
  const { verify } = openEmail({
    url: world.mail.url.replace('://', '://docmesh:right@'),
    from: 'a@b.test',
    linkOf: () => '',
  })
  expect(await verify()).toBe(true)
})

it('lets other messages pass while a server hangs on one', async () => {
  await using world = await openWorld()
  const accepted = Promise.withResolvers<void>()
  const reached = Promise.withResolvers<void>()
  world.mail.recipient = (address) => {
    if (!address.startsWith('slow')) return Promise.resolve()
    reached.resolve()
    return accepted.promise
  }
  const instance = await world.start()
  for (const user of ['slow', 'ana', 'rui']) await wantEmail(instance, user)
  await instance.completed({ requestedBy: 'slow' })
  await reached.promise
  for (const requestedBy of ['ana', 'rui']) await instance.completed({ requestedBy })
  await whenDelivered(instance, 'ana')
  await whenDelivered(instance, 'rui')
  expect(await deliveriesOf(instance, 'slow')).toMatchObject([{ attempts: 0, lastError: '' }])
  accepted.resolve()
  await whenDelivered(instance, 'slow')
})

it('cuts a server that hangs off', async () => {
  await using world = await openWorld()
  let hanging = true
  world.mail.recipient = () => (hanging ? new Promise(() => {}) : Promise.resolve())
  const instance = await world.start({ email: { url: world.mail.url, sendTimeoutMs: 700 }, maxAttempts: 100 })
  await wantEmail(instance)
  await instance.completed()
  await eventually(async () =>
    expect((await deliveriesOf(instance))[0]?.lastError).toBe('no end after 700 ms'),
  )
  hanging = false
  await whenDelivered(instance)
})

it('sends each email once when two instances share a database', async () => {
  await using world = await openWorld()
  const [one, two] = await Promise.all([world.start(), world.start()])
  const users = Array.from({ length: 20 }, (_, n) => `user${n}`)
  for (const user of users) await wantEmail(one, user)
  for (const [n, requestedBy] of users.entries())
    await (n % 2 ? one : two).completed({ analysisId: requestedBy, requestedBy })
  await eventually(async () => {
    const told = await one.told()
    expect(told.filter((type) => type === 'NotificationDelivered')).toHaveLength(users.length)
  })
  expect(world.mail.mails.flatMap(({ to }) => to).sort()).toEqual(
    users.map((user) => `${user}@example.com`).sort(),
  )
})

it('delivers what a worker held that died before sending', async () => {
  await using world = await openWorld()
  const doomed = await world.start({ works: false })
  await wantEmail(doomed)
  const instance = await world.start({ works: false })
  const heir = async () => world.start({ leaseMs: 1_000 })
  await doomed.db.transaction((tx) => doomed.notifications.tell(tx, newsOf('e1')))
  const claimed = await doomed.store.claim({ leaseId: 'dead', ms: 400 }, { channels: ['email'] })
  expect(claimed?.destination).toBe('ana@example.com')
  expect(await instance.store.claim({ leaseId: 'other', ms: 400 }, { channels: ['email'] })).toBeUndefined()
  await whenDelivered(await heir())
  expect(world.mail.mails).toHaveLength(1)
})

it('keeps a message that takes longer than a claim in one hand', async () => {
  await using world = await openWorld()
  const sending = Promise.withResolvers<void>()
  const accepted = Promise.withResolvers<void>()
  world.mail.recipient = () => {
    sending.resolve()
    return accepted.promise
  }
  const instance = await world.start({ leaseMs: 1_500 })
  await world.start({ leaseMs: 1_500 })
  await wantEmail(instance)
  const claim = async () => {
    const [row] = await instance.db.query<{ lease_id: string; lease_until: Date; is_held: boolean }>(
      'select lease_id, lease_until, lease_until > now() as is_held from deliveries',
    )
    return row
  }
  await instance.completed()
  await sending.promise
  const first = await claim()
  await eventually(async () => {
    const heldForMs = Number((await claim())?.lease_until) - Number(first?.lease_until)
    expect(heldForMs).toBeGreaterThan(2_000)
  })
  expect(await claim()).toMatchObject({ lease_id: first?.lease_id, is_held: true })
  accepted.resolve()
  await whenDelivered(instance)
  expect(world.mail.mails).toHaveLength(1)
})

it('keeps a message in one hand that waits to be recorded for longer than a claim', async () => {
  await using world = await openWorld()
  const instance = await world.start({ leaseMs: 1_500 })
  await world.start({ leaseMs: 1_500 })
  await wantEmail(instance)
  const reached = Promise.withResolvers<void>()
  const sending = Promise.withResolvers<void>()
  world.mail.recipient = () => {
    reached.resolve()
    return sending.promise
  }
  const claim = async () => {
    const [row] = await instance.db.query<{ lease_id: string; lease_until: Date; is_held: boolean }>(
      'select lease_id, lease_until, lease_until > now() as is_held from deliveries',
    )
    return row
  }
  await instance.completed()
  await reached.promise
  await instance.db.transaction(async (tx) => {
    await tx.query('select from notifications for no key update')
    sending.resolve()
    await eventually(() => expect(world.mail.mails).toHaveLength(1))
    const first = await claim()
    await eventually(async () => {
      const heldForMs = Number((await claim())?.lease_until) - Number(first?.lease_until)
      expect(heldForMs).toBeGreaterThan(2_000)
    })
    expect(await claim()).toMatchObject({ lease_id: first?.lease_id, is_held: true })
  })
  await whenDelivered(instance)
  expect(world.mail.mails).toHaveLength(1)
})

it('tells of two ways out of one notification in the order in which readers hear of them', async () => {
  await using world = await openWorld()
  await using receiver = await startHttpServer()
  let delivered = 0
  const instance: Instance = await world.start({
    async publishDelivery(tx, type, ...event) {
      delivered++
      if (delivered === 1)
        await eventually(async () => {
          const others = await instance.db.query(
            `select from deliveries where state = 'delivered' union all
             select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          )
          expect(others).toHaveLength(1)
        })
      return instance.events.publish(tx, type, ...event)
    },
  })
  const channels = [
    { channel: Channel.EMAIL, enabled: true, destination: 'ana@example.com' },
    { channel: Channel.WEBHOOK, enabled: true, destination: `${receiver.url}/#a-secret-of-sixteen` },
  ]
  await instance.as('ana').putPreferences({ preferences: { channels } })
  await instance.completed()
  await eventually(async () =>
    expect((await deliveriesOf(instance)).map(({ state }) => state)).toEqual([
      DeliveryState.DELIVERED,
      DeliveryState.DELIVERED,
    ]),
  )
  const rows = await instance.db.query<{ version: bigint }>(
    "select version from events.log where aggregate_type = 'notification' order by xid, events.log.position",
  )
  expect(rows.map(({ version }) => version)).toEqual([1n, 2n, 3n])
})

it('repeats under the same Message-ID what a worker sent that died before recording it', async () => {
  await using world = await openWorld()
  const doomed = await world.start({ works: false })
  await wantEmail(doomed)
  await doomed.db.transaction((tx) => doomed.notifications.tell(tx, newsOf('e1')))
  const claimed = await doomed.store.claim({ leaseId: 'dead', ms: 100 }, { channels: ['email'] })
  if (!claimed) throw new Error('nothing to claim')
  await openEmail({ url: world.mail.url, from: 'noreply@docmesh.test', linkOf: () => '' }).send(claimed)
  const heir = await world.start()
  await whenDelivered(heir)
  const [first, second, ...others] = world.mail.mails.map(({ headers }) => headers.get('message-id'))
  expect(first).toBe(`<${claimed.id}@docmesh.test>`)
  expect(second).toBe(first)
  expect(others).toEqual([])
  expect(
    await doomed.db.transaction((tx) => doomed.store.end(tx, claimed, { state: 'failed', error: 'late' })),
  ).toBe(false)
  expect(await deliveriesOf(heir)).toMatchObject([{ state: DeliveryState.DELIVERED, attempts: 1 }])
})

it('keeps messages back during quiet hours, but not the feed', async () => {
  await using world = await openWorld()
  let now = new Date('2026-11-10T23:59:59.500Z')
  const instance = await world.start({ clock: () => now })
  await wantEmail(instance, 'ana', { quietHours: { start: '22:00', end: '00:00', timeZone: 'UTC' } })
  await instance.completed()
  await eventually(async () => {
    const [delivery] = await deliveriesOf(instance)
    const waitMs = (delivery?.nextAttemptAt?.getTime() ?? 0) - (delivery?.createdAt?.getTime() ?? 0)
    expect(waitMs).toBeGreaterThanOrEqual(500)
    expect(delivery).toMatchObject({ state: DeliveryState.PENDING, attempts: 0 })
  })
  expect(await feedOf(instance)).toHaveLength(1)
  expect(world.mail.mails).toEqual([])
  now = new Date('2026-11-11T00:00:00Z')
  await whenDelivered(instance)
})

it('forgets all notifications about a document that is erased, also those that come later', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await wantEmail(instance)
  await instance.completed({ analysisId: 'a1', documentId: 'secret' })
  await instance.completed({ analysisId: 'a2', documentId: 'other' })
  await eventually(async () => expect(await deliveriesOf(instance)).toHaveLength(2))
  await instance.events.publish(
    instance.db,
    DocumentErased,
    { documentId: 'secret', receiptId: 'r' },
    {
      aggregateType: 'document',
      aggregateId: 'secret',
    },
  )
  await eventually(async () => expect(await feedOf(instance)).toMatchObject([{ subjectId: 'a2' }]))
  expect(await deliveriesOf(instance)).toHaveLength(1)
  await instance.completed({ analysisId: 'a3', documentId: 'secret' })
  await instance.completed({ analysisId: 'a4', documentId: 'other' })
  await eventually(async () =>
    expect(await feedOf(instance)).toMatchObject([{ subjectId: 'a4' }, { subjectId: 'a2' }]),
  )
})

it('finishes the delivery in hand before it stops', async () => {
  await using world = await openWorld()
  const accepted = Promise.withResolvers<void>()
  const reached = Promise.withResolvers<void>()
  world.mail.recipient = () => {
    reached.resolve()
    return accepted.promise
  }
  const instance = await world.start()
  const other = await world.start({ works: false })
  await wantEmail(instance)
  await instance.completed()
  await reached.promise
  const closed = instance.close()
  accepted.resolve()
  await closed
  expect(await deliveriesOf(other)).toMatchObject([{ state: DeliveryState.DELIVERED }])
})
