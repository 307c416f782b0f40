import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openPostgres } from './postgres.ts'
import type { Queryable } from './transaction.ts'
import { DatabaseUnavailable } from './unavailable.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.close())

/** Stands before the server; once it is silent its connections stay open, and nothing goes through or ends them. */
const silenceable = async () => {
  const target = new URL(database.url)
  const sockets = new Set<Socket>()
  let silent = false
  const forward = (from: Socket, to: Socket): void => {
    sockets.add(from)
    from.on('error', () => {})
    from.on('data', (data) => void (silent || to.write(data)))
    from.on('end', () => void (silent || to.end()))
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true })
    forward(client, upstream)
    forward(upstream, client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(database.url)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    silence: () => {
      silent = true
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

it('gives up a server that falls silent, and closes', async () => {
  await using server = await silenceable()
  const db = await openPostgres({
    url: server.url,
    schema: 'public',
    statementTimeoutMs: 1_000,
    connectTimeoutMs: 2_000,
  })
  const began = Promise.withResolvers<void>()
  const transaction = db.transaction(async (tx) => {
    began.resolve()
    await once(gone.signal, 'abort')
    await tx.query('select 1')
  })
  const gone = new AbortController()
  await began.promise
  server.silence()
  gone.abort()
  const outcomes = await Promise.allSettled([transaction, db.query('select 1')])
  expect(outcomes).toMatchObject([
    { status: 'rejected', reason: expect.any(DatabaseUnavailable) },
    { status: 'rejected', reason: expect.any(DatabaseUnavailable) },
  ])
  await db.close()
})

it('closes its listeners although the server fell silent', async () => {
  await using server = await silenceable()
  const db = await openPostgres({ url: server.url, schema: 'public' })
  await db.listen('news', () => {})
  await db.ping()
  server.silence()
  await db.close()
})

it('leaves no listener behind that was opened while it closed', async () => {
  await using other = await openPostgres({ url: database.url, schema: 'public' })
  const db = await openPostgres({ url: database.url, schema: 'public', applicationName: 'leaving' })
  const opening = db.listen('news', () => {})
  await db.close()
  await opening.catch(() => {})
  await expect(db.listen('news', () => {})).rejects.toThrow(DatabaseUnavailable)
  await eventually(async () =>
    expect(
      await other.query(`select application_name from pg_stat_activity where application_name = 'leaving'`),
    ).toEqual([]),
  )
})

it('says so when what was to be committed was rolled back', async () => {
  await using db = await openPostgres({ url: database.url, schema: 'public' })
  await db.query('create table kept (n int primary key)')
  const hiding = db.transaction(async (tx) => {
    await tx.query('insert into kept values (1)')
    await tx.query('insert into kept values (1)').catch(() => {})
    return 'stored'
  })
  await expect(hiding).rejects.toThrow('rolled back')
  expect(await db.query('select n from kept')).toEqual([])
})

it('runs queries that are sent together in their order, and keeps nothing when one of them fails', async () => {
  await using db = await openPostgres({ url: database.url, schema: 'public' })
  await db.query('create table lines (n int generated always as identity, word text)')
  const write = (tx: Queryable, word: string) => tx.query('insert into lines (word) values ($1)', [word])
  await db.transaction((tx) => Promise.all(['a', 'b', 'c'].map((word) => write(tx, word))))
  await expect(
    db.transaction((tx) => Promise.all([write(tx, 'd'), tx.query('select nonsense'), write(tx, 'e')])),
  ).rejects.toThrow('column "nonsense" does not exist')
  expect(await db.query('select word from lines order by n')).toEqual([
    { word: 'a' },
    { word: 'b' },
    { word: 'c' },
  ])
})

it('lets one transaction take longer than others may', async () => {
  await using db = await openPostgres({ url: database.url, schema: 'public', statementTimeoutMs: 500 })
  await db.transaction((tx) => tx.query('select pg_sleep(1.2)'), { statementTimeoutMs: 0 })
  await expect(db.query('select pg_sleep(1.2)')).rejects.toThrow()
})
