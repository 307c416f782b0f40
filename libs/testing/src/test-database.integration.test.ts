import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPostgres } from '@docmesh/postgres'
import { expect, it } from 'vitest'
import { eventually } from './eventually.ts'
import { tcpProxy } from './tcp-proxy.ts'
import { testDatabase } from './test-database.ts'

it('gives every caller a migrated database of its own and drops it afterwards', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'docmesh-migrations-'))
  await writeFile(join(folder, '0001_things.sql'), 'create table things (name text)')
  const migrations = [{ schema: 'shop', migrations: folder }]
  const [one, two] = await Promise.all([testDatabase({ migrations }), testDatabase({ migrations })])
  try {
    await using first = await openPostgres({ url: one.url, schema: 'shop' })
    await using second = await openPostgres({ url: two.url, schema: 'shop' })
    await first.query(`insert into things values ('bolt')`)
    expect(await first.query('select name from things')).toEqual([{ name: 'bolt' }])
    expect(await second.query('select name from things')).toEqual([])
  } finally {
    await Promise.all([one.close(), two.close()])
    await rm(folder, { recursive: true })
  }
  await expect(openPostgres({ url: one.url, schema: 'shop' })).rejects.toThrow('does not exist')
})

it('takes a server away and gives it back through the proxy', async () => {
  await using database = await testDatabase()
  await using proxy = await tcpProxy(database.url)
  await using db = await openPostgres({ url: proxy.url, schema: 'public' })
  await db.ping()
  proxy.cut()
  await expect(db.ping()).rejects.toThrow()
  proxy.restore()
  await eventually(() => db.ping())
  expect(await db.query('select 1 as one')).toEqual([{ one: 1 }])
})
