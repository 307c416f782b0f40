import { eventually } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { gate, job, openWorld, record, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

test('starting twice with one idempotency key gives the first run, per tenant', async () => {
  const pipeline = job('once', async (step) => step.transaction(record('once', step.tenant)))
  const { start } = await world.join({ pipelines: [pipeline] })
  const [first, second] = await Promise.all([
    start(pipeline, null, { tenant: 'a', idempotencyKey: 'k' }),
    start(pipeline, null, { tenant: 'a', idempotencyKey: 'k' }),
  ])
  const other = await start(pipeline, null, { tenant: 'b', idempotencyKey: 'k' })
  expect(first.run.id).toBe(second.run.id)
  expect([first.existed, second.existed].sort()).toEqual([false, true])
  await world.ended(first.run.id)
  await world.ended(other.run.id)
  expect((await world.effectsOf('once')).sort()).toEqual(['a', 'b'])
})

test('a run started in a transaction that does not commit never was', async () => {
  const pipeline = job('transactional', async () => 'done')
  const { start, get } = await world.join({ pipelines: [pipeline] })
  const rolledBack = world.db.transaction(async (tx) => {
    await start(pipeline, null, { id: 'never', tx })
    throw new Error('changed my mind')
  })
  await expect(rolledBack).rejects.toThrow('changed my mind')
  expect(await get('never')).toBeUndefined()
  await world.db.transaction((tx) => start(pipeline, null, { id: 'did', tx }))
  expect(await world.ended('did')).toMatchObject({ state: 'completed' })
})

test('a run begins when it is queued and when a place becomes free, not when the node would look', async () => {
  const pipeline = job('woken', async () => 'done', { queue: 'woken' })
  const { start } = await world.join({
    pipelines: [pipeline],
    queues: { woken: { concurrency: 1, pollMs: 600_000 } },
  })
  const first = await start(pipeline, null)
  await world.ended(first.run.id)
  await world.db.transaction(async (tx) => {
    for (const id of ['woken-1', 'woken-2', 'woken-3']) await start(pipeline, null, { id, tx })
  })
  expect(await world.ended('woken-3')).toMatchObject({ state: 'completed' })
})

test('higher priorities go first, and within one the older', async () => {
  const { reached, pass, open } = gate()
  const order: string[] = []
  const pipeline = job(
    'ordered',
    async ({ runId, signal }) => {
      if (runId === 'holds') await pass(signal)
      else order.push(runId)
    },
    { queue: 'single' },
  )
  const { start } = await world.join({ pipelines: [pipeline], queues: { single: { concurrency: 1 } } })
  await start(pipeline, null, { id: 'holds' })
  await reached
  await start(pipeline, null, { id: 'low', priority: 'low' })
  await start(pipeline, null, { id: 'normal', priority: 'normal' })
  await start(pipeline, null, { id: 'high-1', priority: 'high' })
  await start(pipeline, null, { id: 'high-2', priority: 'high' })
  open()
  await world.ended('low')
  expect(order).toEqual(['high-1', 'high-2', 'normal', 'low'])
})

test('a tenant with much to do does not keep another from its turn', async () => {
  const { reached, pass, open } = gate()
  const order: string[] = []
  const pipeline = job(
    'fair',
    async ({ runId, tenant, signal }) => {
      if (runId === 'holds-2') await pass(signal)
      order.push(tenant)
    },
    { queue: 'tenants' },
  )
  const { start } = await world.join({
    pipelines: [pipeline],
    queues: { tenants: { concurrency: 2, perTenant: 1 } },
  })
  await start(pipeline, null, { id: 'holds-2', tenant: 'big' })
  await reached
  for (let index = 0; index < 20; index++) await start(pipeline, null, { tenant: 'big' })
  const { run } = await start(pipeline, null, { tenant: 'small' })
  // The big tenant has one run under way and 20 that wait; only its own place is taken.
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed' })
  expect(order).toEqual(['small'])
  open()
})

test('a delayed run waits, and a rate limit holds the rest back', async () => {
  const pipeline = job('later', async () => 'done', { queue: 'limited' })
  const { start, get, list, stats } = await world.join({
    pipelines: [pipeline],
    queues: { limited: { rateLimit: { max: 2, periodMs: 60_000 } } },
  })
  const delayed = await start(pipeline, null, { delayMs: 60_000, parentId: 'later' })
  expect(delayed.run.dueAt?.getTime()).toBeGreaterThan(Date.now() + 50_000)
  const started: string[] = []
  for (let index = 0; index < 4; index++)
    started.push((await start(pipeline, null, { parentId: 'batch' })).run.id)
  await eventually(async () => {
    const { runs } = await list({ parentId: 'batch', states: ['completed'] })
    expect(runs).toHaveLength(2)
  })
  const { runs, next } = await list({ parentId: 'batch' }, { limit: 3 })
  expect(runs.map(({ id }) => id)).toEqual(started.slice(1).reverse())
  const rest = await list({ parentId: 'batch' }, { limit: 3, ...(next && { before: next }) })
  expect(rest).toMatchObject({ runs: [{ id: started[0] }], next: undefined })
  expect(await get(delayed.run.id)).toMatchObject({ state: 'queued' })
  const { runs: counts, stranded } = await stats()
  expect(counts.find((each) => each.pipeline === 'later' && each.state === 'completed')?.count).toBe(2)
  expect(stranded).toBe(0)
})

test('a schedule starts its pipeline at each time once', async () => {
  const pipeline = job('nightly', async (step) => step.transaction(record('nightly', String(step.input))))
  const { list } = await world.join({
    pipelines: [pipeline],
    schedules: [{ name: 'every-second', cron: '* * * * * *', pipeline, input: 'tick' }],
  })
  await eventually(async () => {
    const { runs } = await list({ pipeline: 'nightly', states: ['completed'] })
    expect(runs.length).toBeGreaterThan(1)
  })
  await world.leave()
  const keys = await world.db.query("select key from app_workflow.runs where pipeline = 'nightly'")
  expect(new Set(keys.map(({ key }) => key)).size).toBe(keys.length)
})
