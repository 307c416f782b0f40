import { DocumentCreated, DocumentErased } from '@docmesh/contracts/document/v1/events'
import { EventServiceDefinition, type TailEventsResponse } from '@docmesh/contracts/ops/v1/event'
import type { Event } from '@docmesh/events'
import { Code, createClient, grpcJsClient, grpcJsServer, implement, routesOf, sendOver } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, tcpProxy, testDatabase } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { openDatabase } from './database.ts'
import { eventHandlers } from './event-handlers.ts'

/** EventService as the registry serves it, with a database of its own unless `url` says otherwise. */
async function startService({ url: given }: { url?: string | null } = {}) {
  const stack = new AsyncDisposableStack()
  const url = given === undefined ? stack.use(await testDatabase()).url : (given ?? undefined)
  const metrics = createMetrics({ service: 'registry', version: '0', processMetrics: false })
  const database =
    url === undefined ? undefined : openDatabase({ url, metrics, logger: silentLogger, random: Math.random })
  if (database) stack.defer(() => database.close())
  const service = eventHandlers({ opened: database?.opened })
  const routes = routesOf(implement(EventServiceDefinition, service.handlers), [])
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  stack.defer(() => listener.close(0))
  const connection = grpcJsClient.connect(listener.address)
  stack.defer(() => connection.close())
  const client = createClient(EventServiceDefinition, sendOver(connection))
  return { client, database, service, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** The same with the database open, and what a service beside it does. */
async function startWorld() {
  const running = await startService()
  if (!running.database) throw new Error('no database')
  const { db, events } = await running.database.opened
  const announce = (documentId: string, more: object = {}) =>
    events.publish(db, DocumentCreated, DocumentCreated.fromPartial({ documentId, name: 'Maria.pdf' }), {
      aggregateType: 'document',
      aggregateId: documentId,
      userId: 'maria',
      ...more,
    })
  const tail = async (request: object): Promise<TailEventsResponse[]> =>
    Array.fromAsync(running.client.tailEvents({ fromPosition: 1n, ...request }))
  const seen: string[] = []
  const subscribe = (handler = async ({ aggregateId }: Event) => void seen.push(aggregateId)) =>
    events.subscribe({ subscriber: 'audit', events: [DocumentCreated], maxAttempts: 1, handler })
  return { ...running, db, events, announce, tail, subscribe, seen }
}

describe('TailEvents', () => {
  it('streams events with their position and masked payload, and ends at the newest', async () => {
    await using world = await startWorld()
    const event = await world.announce('d1', { tenantId: 'acme' })
    expect(await world.tail({})).toEqual([
      {
        position: 1n,
        event: {
          ...event,
          userId: '[masked]',
          payload: Buffer.alloc(0),
        },
        payloadJson: '{"documentId":"d1","name":"[masked]"}',
      },
    ])
  })

  it('shows what was erased and what no contract knows any more, without payload', async () => {
    await using world = await startWorld()
    await world.announce('d1')
    await world.events.erase(world.db, 'document', 'd1')
    const gone = { ...DocumentCreated, $type: 'docmesh.gone.v1.Gone' as const }
    await world.events.publish(world.db, gone, DocumentCreated.fromPartial({ documentId: 'd2' }), {
      aggregateType: 'document',
      aggregateId: 'd2',
    })
    expect(await world.tail({})).toMatchObject([
      { event: { type: DocumentCreated.$type }, payloadJson: '' },
      { event: { type: 'docmesh.gone.v1.Gone', aggregateId: 'd2' }, payloadJson: '' },
    ])
  })

  it('takes types by short name, and an aggregate', async () => {
    await using world = await startWorld()
    for (const id of ['d1', 'd2']) await world.announce(id)
    const ids = async (request: object) => (await world.tail(request)).map(({ event }) => event?.aggregateId)
    expect(await ids({ types: ['DocumentCreated'] })).toEqual(['d1', 'd2'])
    expect(await ids({ types: ['DocumentErased'] })).toEqual([])
    expect(await ids({ aggregateId: 'd2' })).toEqual(['d2'])
    await expect(world.tail({ types: ['DocumentMade'], fromPosition: -1n })).rejects.toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'from_position' }] },
    })
  })

  it('follows until the replica ends, which it says', async () => {
    await using world = await startWorld()
    const following = world.client.tailEvents({ fromPosition: 1n, follow: true })[Symbol.asyncIterator]()
    for (const id of ['d1', 'd2']) {
      const next = following.next()
      await world.announce(id)
      expect((await next).value?.event?.aggregateId).toBe(id)
    }
    const last = following.next()
    world.service.close()
    await expect(last).rejects.toMatchObject({ code: Code.UNAVAILABLE, reason: 'SHUTTING_DOWN' })
  })
})

describe('ReplayEvents', () => {
  it('delivers to the subscriber again, once per request', async () => {
    await using world = await startWorld()
    world.subscribe()
    for (const id of ['d1', 'd2', 'd3']) await world.announce(id)
    await eventually(() => expect(world.seen).toEqual(['d1', 'd2', 'd3']))
    await eventually(async () => expect(await world.events.subscribers()).toHaveLength(1))
    const request = { subscriber: 'audit', fromPosition: 1n, toPosition: 2n, requestId: 'r1' }
    expect(await world.client.replayEvents(request)).toEqual({ events: 2n })
    expect(await world.client.replayEvents(request)).toEqual({ events: 2n })
    expect(await world.client.replayEvents({ subscriber: 'audit', fromPosition: 3n })).toEqual({ events: 1n })
    await eventually(() => expect(world.seen).toEqual(['d1', 'd2', 'd3', 'd1', 'd2', 'd3']))
  })

  it('names the subscribers that there are, and the types that one hears of', async () => {
    await using world = await startWorld()
    world.subscribe()
    await eventually(async () => expect(await world.events.subscribers()).toHaveLength(1))
    await expect(world.client.replayEvents({ subscriber: 'audlt' })).rejects.toMatchObject({
      code: Code.NOT_FOUND,
      reason: 'SUBSCRIBER_NOT_FOUND',
      message: expect.stringContaining('There are: audit.'),
    })
    await expect(
      world.client.replayEvents({ subscriber: 'audit', types: ['DocumentErased'] }),
    ).rejects.toMatchObject({
      options: {
        fields: [
          { field: 'types', description: expect.stringContaining(`not hear of ${DocumentErased.$type}`) },
        ],
      },
    })
  })
})

describe('dead letters', () => {
  it('come in pages, newest first, and are tried again by id or all of a subscriber', async () => {
    await using world = await startWorld()
    let mended = false
    world.subscribe(async ({ aggregateId }) => {
      if (!mended) throw new Error('maria@example.org refuses it')
      world.seen.push(aggregateId)
    })
    for (const id of ['d1', 'd2', 'd3']) await world.announce(id)
    const list = (request: object = {}) => world.client.listDeadLetters(request)
    await eventually(async () => expect((await list()).deadLetters).toHaveLength(3))
    const first = await list({ pageSize: 2, subscriber: 'audit' })
    const second = await list({ pageSize: 2, subscriber: 'audit', pageToken: first.nextPageToken })
    expect([...first.deadLetters, ...second.deadLetters]).toMatchObject(
      ['d3', 'd2', 'd1'].map((aggregateId) => ({
        subscriber: 'audit',
        attempts: 1,
        error: '[email] refuses it',
        event: { aggregateId, userId: '[masked]' },
      })),
    )
    expect(second.nextPageToken).toBe('')
    expect((await list({ subscriber: 'mail' })).deadLetters).toEqual([])

    mended = true
    const deadLetterIds = [first.deadLetters[0]?.id ?? '', '999', 'unknown']
    expect(await world.client.redriveDeadLetters({ deadLetterIds, requestId: 'r1' })).toEqual({ redriven: 1 })
    await eventually(() => expect(world.seen).toEqual(['d3']))
    expect(await world.client.redriveDeadLetters({ subscriber: 'audit' })).toEqual({ redriven: 2 })
    await eventually(async () => expect((await list()).deadLetters).toEqual([]))
    expect(world.seen).toEqual(['d3', 'd1', 'd2'])
  })

  it('refuses a redrive of nothing named, and a page token that it did not give', async () => {
    await using world = await startWorld()
    await expect(world.client.redriveDeadLetters({})).rejects.toMatchObject({
      options: { fields: [{ field: 'dead_letter_ids' }] },
    })
    await expect(world.client.listDeadLetters({ pageToken: '*' })).rejects.toMatchObject({
      reason: 'INVALID_PAGE_TOKEN',
    })
  })
})

it('names as wrong what PostgreSQL could not look for', async () => {
  await using world = await startWorld()
  const { client } = world
  const nul = 'a.b\0c'
  const refused = (field: string) => ({
    code: Code.INVALID_ARGUMENT,
    options: { fields: [{ field }] },
  })
  await expect(world.tail({ aggregateId: nul })).rejects.toMatchObject(refused('aggregate_id'))
  await expect(world.tail({ types: [nul] })).rejects.toMatchObject(refused('types'))
  await expect(client.listDeadLetters({ subscriber: nul })).rejects.toMatchObject(refused('subscriber'))
  await expect(client.redriveDeadLetters({ subscriber: nul })).rejects.toMatchObject(refused('subscriber'))
})

describe('EventService', () => {
  const calls = ({ client }: Awaited<ReturnType<typeof startService>>) => [
    () => Array.fromAsync(client.tailEvents({})),
    () => client.replayEvents({ subscriber: 'audit' }),
    () => client.listDeadLetters({}),
    () => client.redriveDeadLetters({ subscriber: 'audit' }),
  ]

  it('says that a registry without a database has no events', async () => {
    await using running = await startService({ url: null })
    for (const call of calls(running))
      await expect(call()).rejects.toMatchObject({
        code: Code.FAILED_PRECONDITION,
        reason: 'EVENTS_NOT_CONFIGURED',
      })
  })

  it('says that the database has not been reached yet', async () => {
    await using database = await testDatabase()
    await using proxy = await tcpProxy(database.url)
    proxy.cut()
    await using running = await startService({ url: proxy.url })
    for (const call of calls(running))
      await expect(call()).rejects.toMatchObject({
        code: Code.UNAVAILABLE,
        reason: 'DATABASE_UNAVAILABLE',
      })
  })
})
