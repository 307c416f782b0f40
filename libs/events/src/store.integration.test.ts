import { DocumentCreated, DocumentErased } from '@docmesh/contracts/document/v1/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ConcurrencyError, erase, history, publish } from './store.ts'

let database: TestDatabase
let db: Postgres
beforeAll(async () => {
  const migrations = new URL('../migrations', import.meta.url)
  database = await testDatabase({ migrations: [{ schema: 'events', migrations }] })
  db = await openPostgres({ url: database.url, schema: 'public' })
})
afterAll(async () => {
  await db.close()
  await database.close()
})

const created = (documentId: string) => DocumentCreated.fromPartial({ documentId })
const of = (aggregateId: string) => ({ aggregateType: 'document', aggregateId })

it('keeps the whole history of an aggregate in order', async () => {
  const first = await publish(db, DocumentCreated, created('h1'), {
    ...of('h1'),
    expectedVersion: 0n,
    userId: 'ana',
    tenantId: 'acme',
    correlationId: 'request-1',
    causationId: 'command-1',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  })
  await publish(db, DocumentErased, DocumentErased.fromPartial({ documentId: 'h1' }), of('h1'))
  await publish(db, DocumentCreated, created('h2'), of('h2'))
  const events = await history(db, 'document', 'h1')
  expect(events.map(({ type, version }) => ({ type, version }))).toEqual([
    { type: 'docmesh.document.v1.DocumentCreated', version: 1n },
    { type: 'docmesh.document.v1.DocumentErased', version: 2n },
  ])
  const [stored] = events
  expect({ ...stored, payload: DocumentCreated.decode(stored?.payload ?? Buffer.alloc(0)) }).toEqual(first)
  expect(first).toMatchObject({ userId: 'ana', tenantId: 'acme', causationId: 'command-1' })
})

it('starts a correlation with the event itself when nobody names one', async () => {
  const event = await publish(db, DocumentCreated, created('c1'), of('c1'))
  expect(event.correlationId).toBe(event.id)
})

it('refuses an event for a version that is no longer or not yet there', async () => {
  await publish(db, DocumentCreated, created('v1'), { ...of('v1'), expectedVersion: 0n })
  for (const expectedVersion of [0n, 2n])
    await expect(
      publish(db, DocumentCreated, created('v1'), { ...of('v1'), expectedVersion }),
    ).rejects.toThrow(
      new ConcurrencyError(`document v1 is no longer at version ${expectedVersion}: read it again and retry`),
    )
  expect(await history(db, 'document', 'v1')).toHaveLength(1)
})

it('lets one of two writers with the same expectation win', async () => {
  const write = () =>
    db.transaction((tx) => publish(tx, DocumentCreated, created('w1'), { ...of('w1'), expectedVersion: 0n }))
  const results = await Promise.allSettled([write(), write(), write()])
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const result of results)
    if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(ConcurrencyError)
})

it('numbers the events of concurrent writers without expectation one after another', async () => {
  await Promise.all(
    Array.from({ length: 8 }, () =>
      db.transaction((tx) => publish(tx, DocumentCreated, created('n1'), of('n1'))),
    ),
  )
  const versions = (await history(db, 'document', 'n1')).map(({ version }) => version)
  expect(versions).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n])
})

it('forgets the event of a transaction that is rolled back', async () => {
  const failing = db.transaction(async (tx) => {
    await publish(tx, DocumentCreated, created('r1'), of('r1'))
    throw new Error('no after all')
  })
  await expect(failing).rejects.toThrow('no after all')
  expect(await history(db, 'document', 'r1')).toEqual([])
})

it('cannot be rewritten', async () => {
  await publish(db, DocumentCreated, created('a1'), of('a1'))
  const changes = [
    'update events.log set version = 9',
    "update events.log set version = 9, payload = '', user_id = ''",
    "update events.log set payload = 'other'",
    "update events.log set payload = '', user_id = 'eve'",
    'delete from events.log',
    'truncate events.log',
  ]
  for (const change of changes) await expect(db.query(change)).rejects.toThrow('append-only')
})

it('forgets payloads, users and dead letters of one aggregate, and nothing else', async () => {
  const by = { userId: 'ana', tenantId: 'acme' }
  const event = await publish(db, DocumentCreated, created('e1'), { ...of('e1'), ...by })
  const kept = await publish(db, DocumentCreated, created('e2'), { ...of('e2'), ...by })
  for (const { id } of [event, kept])
    await db.query(
      `insert into events.dead_letters (subscriber, event_id, type, envelope, reason, attempts) values ('s', $1, 't', 'x', 'r', 1)`,
      [id],
    )
  await db.transaction(async (tx) => {
    await erase(tx, 'document', 'e1')
    await publish(tx, DocumentErased, DocumentErased.fromPartial({ documentId: 'e1' }), {
      ...of('e1'),
      ...by,
    })
  })
  const { payload: _, ...facts } = event
  const [erased, after] = await history(db, 'document', 'e1')
  expect(erased).toEqual({ ...facts, userId: '', payload: Buffer.alloc(0) })
  expect(after).toMatchObject({ version: 2n, userId: 'ana' })
  expect(await history(db, 'document', 'e2')).toMatchObject([{ id: kept.id, userId: 'ana' }])
  const letters = await db.query<{ event_id: string }>('select event_id from events.dead_letters')
  expect(letters.map(({ event_id }) => event_id)).toEqual([kept.id])
})
