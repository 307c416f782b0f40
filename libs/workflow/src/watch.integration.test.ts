import { getEventListeners } from 'node:events'
import { openPostgres } from '@docmesh/postgres'
import { tcpProxy } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { job, openWorld, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

test('a watch that has ended leaves nothing behind on the signal', async () => {
  const pipeline = job('seen', async () => 'done')
  const { start, watch } = await world.join({ pipelines: [pipeline] })
  const { signal } = new AbortController()
  const { run } = await start(pipeline, null)
  const states: string[] = []
  for await (const { state } of watch(run.id, signal)) states.push(state)
  expect(states.at(-1)).toBe('completed')
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('a watch ends when its signal aborts, also while the database is away', async () => {
  await using proxy = await tcpProxy(world.url)
  await using db = await openPostgres({ url: proxy.url, schema: 'app', poolMax: 2 })
  const pipeline = job('unseen', async () => 'done')
  const { start, watch } = await world.join({ db, pipelines: [pipeline] })
  const { run } = await start(pipeline, null, { delayMs: 60_000 })
  const watching = new AbortController()
  const runs = watch(run.id, watching.signal)[Symbol.asyncIterator]()
  expect(await runs.next()).toMatchObject({ value: { state: 'queued' } })
  proxy.cut()
  await expect(db.ping()).rejects.toThrow()
  const next = watch(run.id, watching.signal)[Symbol.asyncIterator]().next()
  await expect(db.ping()).rejects.toThrow()
  watching.abort()
  expect(await next).toEqual({ done: true, value: undefined })
  expect(await runs.next()).toMatchObject({ done: true })
  proxy.restore()
  await world.leave()
})
