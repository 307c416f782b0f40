import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import { Channel, DeliveryState, DigestFrequency } from '@docmesh/contracts/notification/v1/notification'
import { eventually, testDatabase } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { type MailServer, smtpAnswer, startMailServer } from './mail-server.fixture.ts'
import { type Instance, type InstanceOptions, newsOf, startInstance } from './world.fixture.ts'

interface World extends AsyncDisposable {
  readonly mail: MailServer
  start(options?: Partial<InstanceOptions>): Promise<Instance>
}

async function openWorld(): Promise<World> {
  const stack = new AsyncDisposableStack()
  const { url: databaseUrl } = stack.use(await testDatabase())
  const mail = stack.use(await startMailServer())
  return {
    mail,
    start: async (options) =>
      stack.use(await startInstance({ databaseUrl, email: { url: mail.url }, ...options })),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const wantDigest = (
  instance: Instance,
  digest: DigestFrequency = DigestFrequency.HOURLY,
  destination = 'ana@example.com',
) => {
  const channels = [{ channel: Channel.EMAIL, enabled: true, destination }]
  return instance.as('ana').putPreferences({ preferences: { channels, digest } })
}
const deliveriesOf = async (instance: Instance) => (await instance.as('ana').listDeliveries({})).deliveries
const tell = (on: Instance, eventId: string, more = {}) =>
  on.db.transaction((tx) =>
    on.notifications.tell(tx, newsOf(eventId, { text: () => ({ title: eventId, body: '' }), ...more })),
  )
/** As if the period of every digest had ended. */
const endPeriod = (on: Instance) =>
  on.db.query(`update deliveries set next_attempt_at = now() where state = 'pending' and lease_id is null`)
const listed = ({ mail }: World) =>
  mail.mails.map(({ text }) => [...text.matchAll(/^• (.*?)\r?$/gm)].map(([, title]) => title))

it('sends what can wait together when the period ends, and the rest at once', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await wantDigest(instance)
  await instance.completed({ analysisId: 'a1', documentName: 'um.pdf' })
  await instance.completed({ analysisId: 'a2', documentName: 'dois.pdf' })
  await instance.failed({ analysisId: 'a3', documentName: 'três.pdf' })
  await eventually(async () => {
    expect((await instance.as('ana').listNotifications({})).notifications).toHaveLength(3)
    expect(world.mail.mails.map(({ headers }) => headers.get('subject'))).toEqual([
      'The analysis of “três.pdf” failed',
    ])
  })
  const [digest] = await eventually(async () => {
    const pending = (await deliveriesOf(instance)).filter(({ state }) => state === DeliveryState.PENDING)
    expect(pending).toHaveLength(1)
    return pending
  })
  await endPeriod(instance)
  await instance.completed({ analysisId: 'a4' })
  await eventually(() => expect(world.mail.mails).toHaveLength(2))
  const mail = world.mail.mails.at(-1)
  expect(mail?.headers.get('subject')).toMatch(/^Digest: [23] notifications$/)
  expect(mail?.headers.get('message-id')).toBe(`<${digest?.id}@docmesh.test>`)
  expect(listed(world).at(-1)?.slice(0, 2)).toEqual([
    'Analysis completed: “um.pdf”',
    'Analysis completed: “dois.pdf”',
  ])
})

it('repeats a digest that failed as it was, and takes up nothing more', async () => {
  await using world = await openWorld()
  world.mail.recipient = () => Promise.reject(smtpAnswer(550, 'no such mailbox'))
  const instance = await world.start()
  await wantDigest(instance)
  await tell(instance, 'one')
  await endPeriod(instance)
  await eventually(async () =>
    expect(await deliveriesOf(instance)).toMatchObject([{ state: DeliveryState.FAILED }]),
  )
  await tell(instance, 'two')
  world.mail.recipient = async () => {}
  const [next, failed] = await deliveriesOf(instance)
  expect(next?.state).toBe(DeliveryState.PENDING)
  await instance.as('ana').retryDelivery({ deliveryId: failed?.id ?? '' })
  await eventually(() => expect(listed(world)).toEqual([['one']]))
  await endPeriod(instance)
  await eventually(() => expect(listed(world)).toEqual([['one'], ['two']]))
})

it('has each notification in one digest, whenever it comes and whichever instance takes it', async () => {
  await using world = await openWorld()
  const instances = await Promise.all([world.start(), world.start()])
  const [first] = instances
  await wantDigest(first)
  const told: string[] = []
  let telling = true
  const ending = (async () => {
    while (telling) await endPeriod(first)
  })()
  /** Takes the names of ended digests away, as the hours would. */
  const passTime = () =>
    first.db.query(`delete from notifications where event_id like 'digest:%' and not exists (
      select from deliveries d where d.notification_id = notifications.id and d.state = 'pending')`)
  await Promise.all(
    instances.map(async (on, n) => {
      for (let m = 0; m < 15; m++) {
        await eventually(() => passTime().then(() => tell(on, `${n}-${m}`)))
        told.push(`${n}-${m}`)
      }
    }),
  )
  telling = false
  await ending
  await endPeriod(first)
  await eventually(() => expect(listed(world).flat().sort()).toEqual(told.toSorted()))
})

it('goes to the address that counts when the last entry comes', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await wantDigest(instance, DigestFrequency.DAILY)
  await tell(instance, 'one')
  await wantDigest(instance, DigestFrequency.DAILY, 'ana@new.example.com')
  await tell(instance, 'two')
  await endPeriod(instance)
  await eventually(() => expect(listed(world)).toEqual([['one', 'two']]))
  expect(world.mail.mails.map(({ to }) => to)).toEqual([['ana@new.example.com']])
})

it('drops a digest that has nothing left to tell', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await wantDigest(instance, DigestFrequency.DAILY)
  await tell(instance, 'one', { documentId: 'secret' })
  const about = { aggregateType: 'document', aggregateId: 'secret' }
  await instance.events.publish(instance.db, DocumentErased, { documentId: 'secret', receiptId: 'r' }, about)
  await eventually(async () =>
    expect((await instance.as('ana').listNotifications({})).notifications).toEqual([]),
  )
  await endPeriod(instance)
  await eventually(async () => expect(await deliveriesOf(instance)).toEqual([]))
  expect(world.mail.mails).toEqual([])
})
