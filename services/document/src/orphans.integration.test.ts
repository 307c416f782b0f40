import { randomBytes } from 'node:crypto'
import type { Publish } from '@docmesh/events'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorld, upload, type World } from './world.fixture.ts'

const AGE_MS = 60_000
const unique = (): string => `Ata de reunião ${randomBytes(8).toString('hex')}\n`

let database: TestDatabase
let world: World
beforeAll(async () => {
  database = await testDatabase()
  world = await openWorld(database.url)
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await database.close()
})

/** What a process leaves that is killed after it stored the content and before it commits the document. */
async function leaveOrphan(content: string): Promise<string> {
  const { document, version } = await upload(world.client, content)
  await world.db.query('delete from documents where id = $1', [document.id])
  return version.sha256
}

const isStored = async (sha256: string): Promise<boolean> =>
  (await world.blobs()).some((path) => path.endsWith(sha256))

const waitingForLocks = () =>
  world.db.query(
    "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
  )

const sweep = (sinceNowMs: number) => world.sweepOrphansAt(new Date(Date.now() + sinceNowMs), AGE_MS)

it('removes contents that have lain without a document for so long, and no others', async () => {
  const { version } = await upload(world.client, unique())
  const orphan = await leaveOrphan(unique())
  expect(await sweep(0)).toBe(0)
  expect(await isStored(orphan)).toBe(true)
  expect(await sweep(AGE_MS + 1_000)).toBe(1)
  expect(await isStored(orphan)).toBe(false)
  expect(await isStored(version.sha256)).toBe(true)
})

it('ends at the next content when it is told to, so that the database can close', async () => {
  const contents = [unique(), unique(), unique()]
  const orphans = await Promise.all(contents.map(leaveOrphan))
  const stop = new AbortController()
  const swept = await world.db.transaction(async (tx) => {
    for (const sha256 of orphans)
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7))', [sha256])
    const sweeping = world.sweepOrphansAt(new Date(Date.now() + 2 * AGE_MS), AGE_MS, stop.signal)
    await eventually(async () => expect(await waitingForLocks()).toHaveLength(1))
    stop.abort()
    return [sweeping]
  })
  expect(await Promise.all(swept)).toEqual([1])
  expect((await Promise.all(orphans.map(isStored))).filter(Boolean)).toHaveLength(2)
  expect(await sweep(AGE_MS + 1_000)).toBe(2)
})

it('leaves a content that is being given to a document, and sweeps with one instance at a time', async () => {
  const content = unique()
  const sha256 = await leaveOrphan(content)
  const another = await leaveOrphan(unique())
  const given = Promise.withResolvers<void>()
  const allowed = Promise.withResolvers<void>()
  const publish: Publish = async (...event) => {
    given.resolve()
    await allowed.promise
    return world.events.publish(...event)
  }
  const uploading = upload(world.clientAt(await world.serve(publish)), content)
  await given.promise
  const sweeping = sweep(AGE_MS + 1_000)
  await eventually(async () => expect(await waitingForLocks()).toHaveLength(1))
  expect(await sweep(AGE_MS + 1_000)).toBe(0)
  allowed.resolve()
  await uploading
  expect(await sweeping).toBe(1)
  expect(await isStored(sha256)).toBe(true)
  expect(await isStored(another)).toBe(false)
})
