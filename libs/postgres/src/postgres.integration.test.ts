import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, freePort, type TestDatabase, tcpProxy, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openPostgres } from './postgres.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.close())

const open = (schema: string, options = {}) => openPostgres({ url: database.url, schema, ...options })

const folderOf = async (files: Record<string, string>): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'docmesh-migrations-'))
  for (const [name, sql] of Object.entries(files)) await writeFile(join(folder, name), sql)
  return folder
}

it('applies migrations once when many instances start at once, each schema apart', async () => {
  const migrations = await folderOf({
    '0001_a.sql': 'create table a (n bigint); insert into a values (9007199254740993)',
    '0002_b.sql': 'insert into a values (2)',
  })
  const instances = await Promise.all(
    ['north', 'north', 'north', 'south'].map((schema) => open(schema, { migrations, poolMax: 2 })),
  )
  for (const db of instances)
    expect(await db.query('select n from a order by n desc')).toEqual([{ n: 9007199254740993n }, { n: 2n }])
  await Promise.all(instances.map((db) => db.close()))
  await rm(migrations, { recursive: true })
})

it('keeps nothing of a migration that fails, and all of those before it', async () => {
  const migrations = await folderOf({
    '0001_a.sql': 'create table a (n int)',
    '0002_bad.sql': 'create table b (n int); select nonsense',
  })
  await expect(open('broken', { migrations })).rejects.toThrow(
    'migration 0002_bad.sql of schema broken failed: column "nonsense" does not exist',
  )
  await using db = await open('broken')
  expect(await db.query('select id, name from migrations')).toEqual([{ id: 1, name: '0001_a.sql' }])
  expect(await db.query(`select to_regclass('b') as b`)).toEqual([{ b: null }])
  await rm(migrations, { recursive: true })
})

it('rolls a failed transaction back and leaves the connection usable', async () => {
  await using db = await open('public', { poolMax: 1 })
  await db.query('create table orders (n int)')
  await expect(
    db.transaction(async (tx) => {
      await tx.query('insert into orders values (1)')
      throw new Error('changed my mind')
    }),
  ).rejects.toThrow('changed my mind')
  expect(await db.query('select n from orders')).toEqual([])
})

it('repeats transactions that PostgreSQL could not serialise', async () => {
  await using db = await open('public')
  await db.query('create table counter (n int); insert into counter values (0)')
  const increment = () =>
    db.transaction(
      async (tx) => {
        const [row] = await tx.query<{ n: number }>('select n from counter')
        await tx.query('update counter set n = $1', [(row?.n ?? 0) + 1])
      },
      { isolation: 'serializable' },
    )
  await Promise.all([increment(), increment(), increment()])
  expect(await db.query('select n from counter')).toEqual([{ n: 3 }])
})

it('survives the loss of idle and of busy connections', async () => {
  const lost: Error[] = []
  await using db = await open('public', { applicationName: 'victim', onError: (e: Error) => lost.push(e) })
  await using other = await open('public')
  const kill = () =>
    other.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'`)
  await db.ping()
  await kill()
  await eventually(() => expect(lost.length).toBeGreaterThan(0))
  await db.ping()
  await expect(
    db.transaction(async (tx) => {
      await kill()
      await tx.query('select 1')
    }),
  ).rejects.toThrow()
  await db.ping()
})

it('waits for a server that starts later', async () => {
  await using proxy = await tcpProxy(database.url)
  proxy.cut()
  const opening = openPostgres({ url: proxy.url, schema: 'public', connectTimeoutMs: 10_000 })
  proxy.restore()
  await using db = await opening
  expect(await db.query('select 1 as one')).toEqual([{ one: 1 }])
})

it('says which server did not answer, without the password', async () => {
  const port = await freePort()
  const opening = openPostgres({
    url: `postgres://app:s3cret@127.0.0.1:${port}/docmesh`,
    schema: 'public',
    connectTimeoutMs: 200,
  })
  const error = await opening.then(
    () => undefined,
    (reason: Error) => reason,
  )
  expect(error?.message).toContain(`PostgreSQL at 127.0.0.1:${port}/docmesh did not answer within 200 ms`)
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('s3cret')
})

it('does not wait when waiting cannot help', async () => {
  const url = new URL(database.url)
  url.pathname = '/no_such_database'
  await expect(openPostgres({ url: url.href, schema: 'public' })).rejects.toThrow(
    /refused: database "no_such_database" does not exist/,
  )
})

it('hears notifications, and an empty one after its connection was lost', async () => {
  await using proxy = await tcpProxy(database.url)
  await using listening = await openPostgres({ url: proxy.url, schema: 'public' })
  await using db = await open('public')
  const heard: string[] = []
  const listener = await listening.listen('news', (payload) => heard.push(payload))
  await db.query(`notify news, 'one'`)
  await eventually(() => expect(heard).toEqual(['one']))
  proxy.cut()
  await db.query(`notify news, 'missed'`)
  proxy.restore()
  await eventually(() => expect(heard).toEqual(['one', '']))
  await db.query(`notify news, 'two'`)
  await eventually(() => expect(heard).toEqual(['one', '', 'two']))
  await listener.close()
})

it('shows its connections under the application name, with the schema first on the search path', async () => {
  await using db = await open('north', { applicationName: 'document-service' })
  const [row] = await db.query(`select current_setting('application_name') as name, current_schema as schema`)
  expect(row).toEqual({ name: 'document-service', schema: 'north' })
  expect(db.stats()).toEqual({ total: 1, idle: 1, waiting: 0, max: 10 })
})
