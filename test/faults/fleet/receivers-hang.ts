// Those who are to be told accept the connection and never say a word, some of them.
import { Channel, NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { eventually } from '@docmesh/testing'
import {
  answering,
  type HttpServer,
  hanging,
  startHttpServer,
} from '../../../services/notification/src/http-server.fixture.ts'
import type { Lab } from './lab.ts'
import { END_MS, type FleetScenario, failedOf, inFleet, settled } from './scenario.ts'
import { asUser } from './work.ts'

const DOCUMENTS = 4
const IN_TIME_MS = 2_000
/** Of a circuit that has opened once: it is tried again after 10 to 15 s, and then all that waits goes out. */
const HEAL_MS = 60_000
const PATIENCE = { timeoutMs: 120_000, intervalMs: 100 }
const SECRET = '#a-secret-of-this-lab'

interface Receiver {
  readonly users: readonly string[]
  readonly channel: Channel
  readonly destination: string
}

export const receiversHang: FleetScenario = async ({ short }) => {
  const usersEach = short ? 2 : 6
  const analyses = 3 * usersEach * DOCUMENTS
  const bar = `while the mail server and a webhook hang, the others hear of it within ${IN_TIME_MS / 1_000} s and the circuits of the two open; ${HEAL_MS / 1_000} s after they wake everything has been delivered, once; 0 violations`
  await using well = await startHttpServer()
  await using ill = await startHttpServer()
  const env = { NOTIFICATION_ALLOWED_NETWORKS: '127.0.0.0/8' }
  return await inFleet({ instances: 1, env }, bar, async (lab) => {
    const { db, work } = lab
    const usersOf = (name: string) => Array.from({ length: usersEach }, (_, at) => `${name}-${at}`)
    const receivers: Receiver[] = [
      { users: usersOf('well'), channel: Channel.WEBHOOK, destination: `${well.url}/${SECRET}` },
      { users: usersOf('ill'), channel: Channel.WEBHOOK, destination: `${ill.url}/${SECRET}` },
      { users: usersOf('mail'), channel: Channel.EMAIL, destination: 'somebody@example.com' },
    ]
    for (const receiver of receivers) await prefer(lab, receiver)
    const documents = await work.upload(DOCUMENTS)
    await work.ended((await work.analyze(documents)).length, { timeoutMs: END_MS })
    await delivered(lab, 'true') // the mail of a user without preferences, before it is shut

    lab.mailDoor.shut()
    ill.answer = hanging
    const asked = await Promise.all(
      receivers.flatMap(({ users }) => users).map((user) => work.analyze(documents, user)),
    )
    const ended = await work.ended(analyses + DOCUMENTS, { timeoutMs: END_MS })
    await delivered(lab, "n.user_id like 'well-%'")
    const slowest_ms = await slowest(lab, "n.user_id like 'well-%'")
    await eventually(async () => {
      if ((await circuitsOpened(lab)) < 2) throw new Error('a circuit is closed')
    }, PATIENCE)
    const asked_while_hanging = ill.received.length

    lab.mailDoor.open()
    const answered = countAnswers(ill)
    const wokenAt = performance.now()
    await delivered(lab, 'true')
    const heal_ms = Math.round(performance.now() - wokenAt)
    const failed = failedOf(analyses + DOCUMENTS, ended)
    const found = await settled(lab, { asked: asked.flat() })
    const mails = lab.mails()
    const twice = mails.length - new Set(mails).size + answered.length - new Set(answered).size
    const [tried] = await db.query<{ most: number }>(
      'select max(attempts) as most from notification.deliveries',
    )
    return {
      ok:
        failed === 0 &&
        found.violation_count === 0 &&
        slowest_ms <= IN_TIME_MS &&
        heal_ms <= HEAL_MS &&
        answered.length === usersEach * DOCUMENTS &&
        twice === 0,
      calls: analyses + DOCUMENTS,
      failed,
      heal_ms,
      ...found,
      slowest_ms,
      circuits_opened: await circuitsOpened(lab),
      asked_while_hanging,
      most_attempts: tried?.most ?? 0,
      delivered_late: answered.length + mails.length - DOCUMENTS,
      delivered_twice: twice,
      bar,
    }
  })
}

/** Each user by that channel and in the feed. */
async function prefer({ mesh }: Lab, { users, channel, destination }: Receiver): Promise<void> {
  const client = mesh.client(NotificationServiceDefinition, 'notification')
  const off = channel === Channel.EMAIL ? [] : [{ channel: Channel.EMAIL, enabled: false }]
  const preferences = { channels: [{ channel, enabled: true, destination }, ...off] }
  for (const user of users) await asUser(user, () => client.putPreferences({ preferences }))
}

/** Wakes the receiver; the keys of what it said yes to from now on. */
function countAnswers(receiver: HttpServer): string[] {
  const keys: string[] = []
  const accept = answering(200, 'ok')
  receiver.answer = (response, request) => {
    keys.push(String(request.headers['idempotency-key']))
    accept(response, request)
  }
  return keys
}

const OF_NOTIFICATIONS =
  'from notification.deliveries d join notification.notifications n on n.id = d.notification_id'

/** Resolves when every event was dealt with and what it made for these users has gone out. */
const delivered = ({ db }: Lab, whose: string): Promise<void> =>
  eventually(async () => {
    const untold = await db.query(
      `select from events.log l join events.subscribers s on s.type = l.type and s.subscriber = 'notification'
       where not exists (select from events.inbox i where i.subscriber = s.subscriber and i.event_id = l.id::text)
         and (l.xid, l.position) <= (s.handled_xid, s.handled_position) is not true`,
    )
    const pending = await db.query(`select ${OF_NOTIFICATIONS} where d.state = 'pending' and ${whose}`)
    if (untold.length + pending.length > 0) throw new Error(`${pending.length} deliveries are pending`)
  }, PATIENCE)

async function slowest({ db }: Lab, whose: string): Promise<number> {
  const [row] = await db.query<{ ms: number }>(
    `select round(extract(epoch from max(d.delivered_at - n.created_at)) * 1000)::int as ms ${OF_NOTIFICATIONS} where ${whose}`,
  )
  return row?.ms ?? 0
}

async function circuitsOpened(lab: Lab): Promise<number> {
  const pages = await Promise.all(
    lab
      .adminAddresses('notification')
      .map(async (address) => (await fetch(`http://${address}/metrics`)).text()),
  )
  return pages
    .map((page) => Number(/^docmesh_notification_circuits_total\{state="open"\} (\d+)/m.exec(page)?.[1] ?? 0))
    .reduce((sum, opened) => sum + opened, 0)
}
