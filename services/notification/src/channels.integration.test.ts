import { Severity } from '@docmesh/contracts/analysis/v1/analysis'
import { ProblemDetected } from '@docmesh/contracts/analysis/v1/events'
import { Channel, DeliveryState } from '@docmesh/contracts/notification/v1/notification'
import { SystemHealthChecked, SystemRecoveryCompleted } from '@docmesh/contracts/ops/v1/events'
import { ServiceRecovered, ServiceUnhealthy } from '@docmesh/contracts/registry/v1/events'
import { eventually, testDatabase } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { answering, type HttpServer, hanging, startHttpServer } from './http-server.fixture.ts'
import { type Instance, type InstanceOptions, newsOf, startInstance } from './world.fixture.ts'

const SECRET = 'a-secret-that-signs'
const ROUTING_KEY = '0123456789abcdef0123456789abcdef'
const API_KEY = 'eb243592-faa2-4ba2-a551-1afdf565c889'
const OPERATOR = { tenantId: 'acme', userId: 'ana' }
const success = answering(202, '{"status":"success"}')

interface World extends AsyncDisposable {
  start(options?: Partial<InstanceOptions>): Promise<Instance>
  server(answer?: HttpServer['answer']): Promise<HttpServer>
}

async function openWorld(): Promise<World> {
  const stack = new AsyncDisposableStack()
  const { url: databaseUrl } = stack.use(await testDatabase())
  return {
    start: async (options) => stack.use(await startInstance({ databaseUrl, ...options })),
    server: async (answer) => stack.use(await startHttpServer(answer)),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

type Wish = { channel: Channel; destination: string; eventTypes?: string[] }
const want = (instance: Instance, wishes: readonly Wish[], { user = 'ana', ...extra } = {}) =>
  instance.as(user).putPreferences({
    preferences: { channels: wishes.map((wish) => ({ ...wish, enabled: true })), ...extra },
  })
const hook = ({ url }: HttpServer, path = '/hook'): Wish => ({
  channel: Channel.WEBHOOK,
  destination: `${url}${path}#${SECRET}`,
})
const pager: Wish = { channel: Channel.PAGERDUTY, destination: ROUTING_KEY }
const deliveriesOf = async (instance: Instance, user = 'ana') =>
  (await instance.as(user).listDeliveries({ pageSize: 1_000 })).deliveries
const statesOf = async (instance: Instance, user = 'ana') =>
  (await deliveriesOf(instance, user)).map(({ state }) => state)
const whenDelivered = (instance: Instance, count = 1, user = 'ana') =>
  eventually(async () =>
    expect(await statesOf(instance, user)).toEqual(Array(count).fill(DeliveryState.DELIVERED)),
  )
const whenFailed = (instance: Instance) =>
  eventually(async () => expect(await statesOf(instance)).toEqual([DeliveryState.FAILED]))
const bodies = ({ received }: HttpServer) => received.map(({ body }) => JSON.parse(body))
const tell = (on: Instance, ...args: Parameters<typeof newsOf>) =>
  on.db.transaction((tx) => on.notifications.tell(tx, newsOf(...args)))

it('delivers by every channel, each once and in the way of its provider', async () => {
  await using world = await openWorld()
  const [slack, teams, webhook, pagerDuty, opsgenie] = await Promise.all([
    world.server(),
    world.server(answering(202)),
    world.server(answering(204)),
    world.server(success),
    world.server(answering(202, '{"result":"Request will be processed","requestId":"1"}')),
  ])
  const instance = await world.start({ senders: { pagerDutyUrl: pagerDuty.url, opsgenieUrl: opsgenie.url } })
  await want(instance, [
    { channel: Channel.SLACK, destination: `${slack.url}/services/T/B/x` },
    { channel: Channel.TEAMS, destination: `${teams.url}/workflows/x?sig=y` },
    hook(webhook),
    pager,
    { channel: Channel.OPSGENIE, destination: API_KEY },
  ])
  const event = await instance.failed({
    failure: { step: 'ocr', reason: 'X', message: 'Y', retryable: false },
  })
  await whenDelivered(instance, 5)
  expect(slack.received[0]?.path).toBe('/services/T/B/x')
  expect(bodies(slack)).toMatchObject([{ text: 'The analysis of “contrato.pdf” failed' }])
  expect(teams.received[0]?.path).toBe('/workflows/x?sig=y')
  expect(bodies(teams)).toMatchObject([
    { type: 'message', attachments: [{ content: { type: 'AdaptiveCard' } }] },
  ])
  const [delivery] = (await deliveriesOf(instance)).filter(({ channel }) => channel === Channel.WEBHOOK)
  expect(webhook.received[0]?.headers['idempotency-key']).toBe(delivery?.id)
  expect(bodies(webhook)).toMatchObject([
    {
      severity: 'error',
      event: {
        id: event.id,
        type: 'docmesh.analysis.v1.AnalysisFailed',
        payload: { analysisId: 'a1', failure: { step: 'ocr', message: 'Y' } },
      },
    },
  ])
  expect(pagerDuty.received[0]?.path).toBe('/v2/enqueue')
  expect(bodies(pagerDuty)).toMatchObject([{ routing_key: ROUTING_KEY, payload: { severity: 'error' } }])
  expect(opsgenie.received[0]).toMatchObject({
    path: '/v2/alerts',
    headers: { authorization: `GenieKey ${API_KEY}` },
  })
  await eventually(async () => expect(await instance.outcomes()).toHaveLength(6))
})

it('repeats a webhook under the same key until it is taken', async () => {
  await using world = await openWorld()
  const server = await world.server(answering(500))
  const instance = await world.start({ maxAttempts: 100 })
  await want(instance, [hook(server)])
  await instance.completed()
  await eventually(() => expect(server.received.length).toBeGreaterThan(2))
  server.answer = answering(200)
  await whenDelivered(instance)
  const [delivery] = await deliveriesOf(instance)
  expect(delivery).toMatchObject({ attempts: server.received.length, lastError: '' })
  expect(new Set(server.received.map(({ headers }) => headers['idempotency-key']))).toEqual(
    new Set([delivery?.id]),
  )
  expect(new Set(server.received.map(({ body }) => body)).size).toBe(1)
})

it('waits as long as a server that has enough asks for', async () => {
  await using world = await openWorld()
  const server = await world.server(answering(429, '', { 'retry-after': '1800' }))
  const instance = await world.start()
  await want(instance, [hook(server)])
  await instance.completed()
  await eventually(async () => {
    const [delivery] = await deliveriesOf(instance)
    expect(delivery).toMatchObject({ state: DeliveryState.PENDING, attempts: 1, lastError: 'answered 429' })
    const waitMs = (delivery?.nextAttemptAt?.getTime() ?? 0) - (delivery?.createdAt?.getTime() ?? 0)
    expect(waitMs).toBeGreaterThanOrEqual(1_800_000)
  })
})

it.each([
  ['answered 302: redirects are not followed', answering(302, '', { location: 'http://169.254.169.254/' })],
  ['answered 410', answering(410, SECRET)],
])('gives up at once on what no repeat can change: %s', async (error, answer) => {
  await using world = await openWorld()
  const server = await world.server(answer)
  const instance = await world.start()
  await want(instance, [hook(server, '/s3cret')])
  await instance.completed()
  await whenFailed(instance)
  expect(server.received).toHaveLength(1)
  const [delivery] = await deliveriesOf(instance)
  expect(delivery).toMatchObject({ attempts: 1, lastError: error, destination: `${server.url}/…` })
  const log = await instance.db.query<{ payload: Buffer }>('select payload from events.log')
  expect(Buffer.concat(log.map(({ payload }) => payload)).toString('latin1')).not.toMatch(/s3cret|a-secret/)
})

it('does not let a user reach what is not public', async () => {
  await using world = await openWorld()
  const server = await world.server()
  const instance = await world.start({ senders: { allowedNetworks: [] } })
  for (const destination of [
    server.url,
    server.url.replace('127.0.0.1', 'localhost'),
    'https://169.254.169.254/x',
  ]) {
    await want(instance, [{ channel: Channel.SLACK, destination }])
    const { delivery } = await instance.as('ana').sendTestNotification({ channel: Channel.SLACK })
    expect(delivery).toMatchObject({
      state: DeliveryState.FAILED,
      lastError: 'the address is not in a public network',
    })
  }
  expect(server.received).toEqual([])
})

it('leaves a server that hangs alone, and nobody else waits for it', async () => {
  await using world = await openWorld()
  const slow = await world.server(hanging)
  const fast = await world.server()
  const instance = await world.start({
    maxAttempts: 100,
    senders: { httpTimeoutMs: 5_000 },
    servers: { atOnce: 2 },
  })
  const users = Array.from({ length: 60 }, (_, n) => `slow${n}`)
  for (const user of users) await want(instance, [hook(slow)], { user })
  await want(instance, [hook(fast)])
  for (const userId of users) await tell(instance, userId, { userId })
  await eventually(() => expect(slow.received).toHaveLength(2))
  await tell(instance, 'e1')
  await whenDelivered(instance)
  expect(slow.received).toHaveLength(2)
  slow.answer = answering(200)
  for (const user of users.slice(-3)) await whenDelivered(instance, 1, user)
})

it('does not claim what goes to a server that takes nothing, nor count it as late', async () => {
  await using world = await openWorld()
  const [busy, free] = await Promise.all([world.server(), world.server()])
  const instance = await world.start({ works: false })
  await want(instance, [hook(busy)])
  await want(instance, [hook(free)], { user: 'rui' })
  await tell(instance, 'e1')
  await tell(instance, 'e1', { userId: 'rui' })
  const except = [new URL(busy.url).host]
  expect(
    await eventually(async () => {
      expect(await instance.store.overdue(1, [])).toBe(2)
      return instance.store.overdue(1, except)
    }),
  ).toBe(1)
  const claim = () => instance.store.claim({ leaseId: 'l', ms: 60_000 }, { channels: ['webhook'], except })
  expect([(await claim())?.userId, await claim()]).toEqual(['rui', undefined])
})

it('gives a server that breaks a rest without using up attempts', async () => {
  await using world = await openWorld()
  const server = await world.server(answering(503))
  const breaker = {
    trip: { kind: 'CONSECUTIVE', failureThreshold: 3 },
    openMs: 3_600_000,
    maxOpenMs: 3_600_000,
  } as const
  const instance = await world.start({ servers: { breaker } })
  await want(instance, [hook(server)])
  for (let n = 0; n < 20; n++) await tell(instance, `e${n}`)
  const other = await world.server()
  await want(instance, [hook(other)], { user: 'rui' })
  await tell(instance, 'e1', { userId: 'rui' })
  await whenDelivered(instance, 1, 'rui')
  const attempts = async () => (await deliveriesOf(instance)).reduce((sum, one) => sum + one.attempts, 0)
  await eventually(async () => expect(await attempts()).toBe(server.received.length))
  expect(server.received.length).toBeLessThan(3 + 4)
  expect(new Set(await statesOf(instance))).toEqual(new Set([DeliveryState.PENDING]))
})

it('delivers each webhook once when three instances share a database', async () => {
  await using world = await openWorld()
  const server = await world.server()
  const instances = await Promise.all([world.start(), world.start(), world.start()])
  const [first] = instances
  await want(first, [hook(server)])
  await Promise.all(
    instances.map(async (on, n) => {
      for (let m = 0; m < 30; m++) await tell(on, `${n}-${m}`)
    }),
  )
  await whenDelivered(first, 90)
  const keys = server.received.map(({ headers }) => headers['idempotency-key'])
  expect([keys.length, new Set(keys).size]).toEqual([90, 90])
})

it.each([
  [
    'webhook' as const,
    (server: HttpServer) => hook(server),
    (server: HttpServer) => server.received.map(({ headers }) => headers['idempotency-key']),
  ],
  [
    'pagerduty' as const,
    () => pager,
    (server: HttpServer) => bodies(server).map(({ dedup_key }) => dedup_key),
  ],
])(
  'repeats by %s under the same key what was sent by a worker that died before recording it',
  async (channel, wish, keysOf) => {
    await using world = await openWorld()
    const server = await world.server(success)
    const senders = { pagerDutyUrl: server.url }
    const doomed = await world.start({ works: false, senders })
    await want(doomed, [wish(server)])
    await tell(doomed, 'e1')
    const claimed = await doomed.store.claim({ leaseId: 'dead', ms: 50 }, { channels: [channel] })
    if (!claimed) throw new Error('nothing to claim')
    expect(await doomed.senders.get(channel)?.send(claimed)).toEqual({ kind: 'delivered' })
    await whenDelivered(await world.start({ senders }))
    const [first, second, ...others] = keysOf(server)
    expect(first).toContain(claimed.id)
    expect([second, others]).toEqual([first, []])
  },
)

const instanceOf = { service: 'document', instanceId: 'document-1' }
const unhealthy = (on: Instance) => on.publish(ServiceUnhealthy, { ...instanceOf, detail: 'x' }, 'document-1')
const recovered = (on: Instance) => on.publish(ServiceRecovered, instanceOf, 'document-1')

it('tells operators of the installation, and nobody else', async () => {
  await using world = await openWorld()
  const instance = await world.start({ operators: [OPERATOR, { ...OPERATOR, userId: 'rui' }] })
  await unhealthy(instance)
  for (const user of ['ana', 'rui'])
    await eventually(async () =>
      expect((await instance.as(user).listNotifications({})).notifications).toMatchObject([
        { title: 'document: an instance is unhealthy', subjectType: 'instance', subjectId: 'document-1' },
      ]),
    )
  expect((await instance.as('eve').listNotifications({})).notifications).toEqual([])
})

it('resolves at the pager what it triggered, and again', async () => {
  await using world = await openWorld()
  const server = await world.server(success)
  const instance = await world.start({ operators: [OPERATOR], senders: { pagerDutyUrl: server.url } })
  await want(instance, [pager])
  const steps = [unhealthy, recovered, unhealthy, recovered]
  for (const [n, step] of steps.entries()) {
    await step(instance)
    await whenDelivered(instance, n + 1)
  }
  expect(bodies(server).map(({ event_action }) => event_action)).toEqual([
    'trigger',
    'resolve',
    'trigger',
    'resolve',
  ])
  expect(new Set(bodies(server).map(({ dedup_key }) => dedup_key))).toEqual(
    new Set(['docmesh:instance/document-1']),
  )
})

it('pages for a check that fails again in another run of the supervisor', async () => {
  await using world = await openWorld()
  const server = await world.server(success)
  const instance = await world.start({ operators: [OPERATOR], senders: { pagerDutyUrl: server.url } })
  await want(instance, [pager])
  const steps = [
    ['first run', false],
    ['first run', true],
    ['second run', false],
  ] as const
  for (const [n, [run, healthy]] of steps.entries()) {
    await instance.publish(SystemHealthChecked, { check: 'database/postgres', healthy, detail: '' }, run)
    await eventually(async () =>
      expect((await instance.as('ana').listNotifications({})).notifications).toHaveLength(n + 1),
    )
    await eventually(() => expect(bodies(server)).toHaveLength(n + 1))
  }
  expect(bodies(server).map(({ event_action }) => event_action)).toEqual(['trigger', 'resolve', 'trigger'])
})

it('pages nobody for an incident whose end came first', async () => {
  await using world = await openWorld()
  const server = await world.server(success)
  const instance = await world.start({ works: false, senders: { pagerDutyUrl: server.url } })
  await want(instance, [pager])
  const incident = { incident: 'instance/document-1', severity: 'error' } as const
  await tell(instance, 'end', { ...incident, incidentVersion: 2n, resolves: true })
  await tell(instance, 'begin', { ...incident, incidentVersion: 1n })
  const worker = await world.start({ senders: { pagerDutyUrl: server.url } })
  await whenDelivered(worker)
  expect(bodies(server).map(({ event_action }) => event_action)).toEqual(['resolve'])
  expect((await worker.as('ana').listNotifications({})).notifications).toHaveLength(2)
})

it('holds the end of an incident back until its begin has gone out', async () => {
  await using world = await openWorld()
  const instance = await world.start({ works: false })
  await want(instance, [pager])
  const incident = { incident: 'instance/document-1', severity: 'error' } as const
  await tell(instance, 'begin', { ...incident, incidentVersion: 3n })
  await tell(instance, 'end', { ...incident, incidentVersion: 2n, resolves: true })
  await tell(instance, 'other', { severity: 'error' })
  const claim = () => instance.store.claim({ leaseId: 'l', ms: 60_000 }, { channels: ['pagerduty'] })
  const [first, second, third] = [await claim(), await claim(), await claim()]
  expect([first?.eventId, second?.eventId, third]).toEqual(['begin', 'other', undefined])
  if (!first) throw new Error('nothing to claim')
  await instance.db.transaction((tx) => instance.store.end(tx, first, { state: 'delivered' }))
  expect((await claim())?.eventId).toBe('end')
})

it('does not count as late what waits for the begin of its incident', async () => {
  await using world = await openWorld()
  const instance = await world.start({ works: false })
  await want(instance, [pager])
  const incident = { incident: 'instance/document-1', severity: 'error' } as const
  await tell(instance, 'begin', { ...incident, incidentVersion: 1n })
  const begin = await instance.store.claim({ leaseId: 'l', ms: 60_000 }, { channels: ['pagerduty'] })
  if (!begin) throw new Error('nothing to claim')
  const retry = { state: 'retry', error: 'answered 503', afterMs: 3_600_000 } as const
  await instance.db.transaction((tx) => instance.store.end(tx, begin, retry))
  await tell(instance, 'end', { ...incident, incidentVersion: 2n, resolves: true })
  await tell(instance, 'other', { severity: 'error' })
  await eventually(async () => expect(await instance.store.overdue(1, [])).toBeGreaterThan(0))
  expect(await instance.store.overdue(1, [])).toBe(1)
})

it('lets what is critical pass quiet hours, and nothing else', async () => {
  await using world = await openWorld()
  const server = await world.server()
  const instance = await world.start({
    operators: [OPERATOR],
    clock: () => new Date('2026-11-10T23:00:00Z'),
  })
  const quietHours = { start: '22:00', end: '07:00', timeZone: 'UTC' }
  await want(instance, [hook(server)], { quietHours } as never)
  await unhealthy(instance)
  await eventually(async () => expect(await statesOf(instance)).toEqual([DeliveryState.PENDING]))
  const failed = { recoveryId: 'r1', succeeded: false, detail: 'three restarts did not help' }
  await instance.publish(SystemRecoveryCompleted, failed, 'r1')
  await eventually(() =>
    expect(bodies(server)).toMatchObject([
      { severity: 'critical', title: 'The system could not mend itself' },
    ]),
  )
  await eventually(async () =>
    expect(await deliveriesOf(instance)).toMatchObject([
      { state: DeliveryState.DELIVERED },
      { state: DeliveryState.PENDING, attempts: 0 },
    ]),
  )
})

it('tells of single problems only who names them', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  const eventTypes = [ProblemDetected.$type]
  await want(instance, [{ channel: Channel.IN_APP, destination: '', eventTypes }], { user: 'rui' })
  for (const user of ['ana', 'rui'])
    for (const severity of [Severity.CRITICAL, Severity.LOW])
      await instance.publish(
        ProblemDetected,
        ProblemDetected.fromPartial({
          analysisId: 'a1',
          documentId: 'd1',
          severity,
          category: 'missing_clause',
        }),
        user,
        user,
      )
  await instance.completed()
  await eventually(async () => {
    const titles = async (user: string) =>
      (await instance.as(user).listNotifications({})).notifications.map(({ title }) => title)
    expect(await titles('rui')).toEqual(['Problem of critical severity in document d1'])
    expect(await titles('ana')).toEqual(['Analysis completed: “contrato.pdf”'])
  })
})

it('tells of a document whose name holds what a database cannot', async () => {
  await using world = await openWorld()
  const instance = await world.start()
  await instance.completed({ documentName: 'a\0b\uD800.pdf' })
  await eventually(async () =>
    expect((await instance.as('ana').listNotifications({})).notifications).toMatchObject([
      { title: 'Analysis completed: “a b\uFFFD.pdf”' },
    ]),
  )
})
