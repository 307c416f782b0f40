import { openPostgres } from '@docmesh/postgres'
import { eventually, tcpProxy } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { definePipeline } from './pipeline.ts'
import { gate, job, openWorld, record, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

/** What other nodes do to one that they hold for dead. */
const takeOver = (node: string): Promise<unknown> =>
  world.db.query(
    `update app_dbos.workflow_status set status = 'ENQUEUED', owner_xid = null where executor_id = $1 and status = 'PENDING'`,
    [node],
  )

test('an execution that was taken over does not write, though its process lives', async () => {
  const first = gate()
  const seen: unknown[] = []
  let attempts = 0
  const pipeline = job('contested', async (step) => {
    attempts++
    if (attempts === 2) return step.transaction(record(step.runId, 'the successor'))
    // Deaf to its signal, as a frozen process is.
    await first.pass(new AbortController().signal)
    await step.transaction(record(step.runId, 'the zombie')).catch((error) => seen.push(error))
    return 'zombie'
  })
  const { start, node, outputs } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await first.reached
  await takeOver(node)
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', begun: 2 })
  first.open()
  await eventually(() => expect(seen).toHaveLength(1))
  expect(seen[0]).toMatchObject({ name: 'OwnershipLost' })
  expect(await outputs(run.id)).toEqual({ work: 'the successor' })
  expect(await world.effectsOf(run.id)).toEqual(['the successor'])
})

test('what a lost node had in hand begins when it was given back, not when a node would look', async () => {
  const first = gate()
  let attempts = 0
  const pipeline = job('lost', async (step) => {
    attempts++
    if (attempts === 1) await first.pass(step.signal)
  })
  const { start, node } = await world.join({
    pipelines: [pipeline],
    queues: { default: { pollMs: 600_000 } },
  })
  const { run } = await start(pipeline, null)
  await first.reached
  await world.db.query(
    "update app_dbos.workflow_status set executor_id = 'lost', owner_xid = 'lost' where executor_id = $1 and status = 'PENDING'",
    [node],
  )
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', begun: 2 })
  first.open()
})

test('an effect whose step was lost after it is not done again', async () => {
  const first = gate()
  let attempts = 0
  const pipeline = job('halfway', async (step) => {
    attempts++
    const value = await step.transaction(record(step.runId, `attempt ${attempts}`))
    if (attempts === 1) await first.pass(step.signal)
    return value
  })
  const { start, node, outputs } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await first.reached
  await takeOver(node)
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', begun: 2 })
  expect(await world.effectsOf(run.id)).toEqual(['attempt 1'])
  expect(await outputs(run.id)).toEqual({ work: 'attempt 1' })
})

test('a run that nodes are lost over becomes a dead letter, and goes on when it is redriven', async () => {
  let healthy = false
  let attempts = 0
  const pipeline = job('poison', async (step) => {
    attempts++
    if (healthy) return step.transaction(record(step.runId, 'cured'))
    await takeOver(workflows.node)
    return new Promise(() => {})
  })
  const workflows = await world.join({
    pipelines: [pipeline],
    maxRecoveryAttempts: 3,
    queues: { default: { concurrency: 8 } },
  })
  const { run } = await workflows.start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({
    state: 'dead',
    failure: { reason: 'TOO_MANY_RECOVERIES' },
  })
  expect(attempts).toBe(3)
  expect((await workflows.list({ states: ['dead'] })).runs.map(({ id }) => id)).toEqual([run.id])
  healthy = true
  expect(await workflows.redrive(run.id)).toMatchObject({ changed: true, run: { state: 'queued' } })
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', failure: undefined })
})

test('a compensation that fails makes a dead letter, and a redrive goes on taking back', async () => {
  let able = false
  const pipeline = definePipeline<null, Record<'a' | 'b', string>>({
    name: 'stuck',
    version: '1',
    steps: [
      {
        name: 'a',
        timeoutMs: 1_000,
        run: (step) => step.transaction(record(step.runId, 'a')),
        async compensate(step) {
          if (!able) throw new Error('cannot take it back')
          await step.transaction(record(step.runId, `undo ${step.output('a')}`))
        },
      },
      {
        name: 'b',
        timeoutMs: 1_000,
        run: async () => {
          throw new Error('broken')
        },
      },
    ],
  })
  const { start, redrive } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  const dead = await world.ended(run.id)
  expect(dead).toMatchObject({ state: 'dead', failure: { step: 'b', message: 'broken' } })
  expect(dead.steps[0]).toMatchObject({ state: 'completed', detail: 'not taken back: cannot take it back' })
  able = true
  expect(await redrive(run.id)).toMatchObject({ changed: true, run: { state: 'compensating' } })
  expect(await world.ended(run.id)).toMatchObject({ state: 'failed', failure: { step: 'b' } })
  expect(await world.effectsOf(run.id)).toEqual(['a', 'undo a'])
})

test('a node that leaves in order hands its runs to the next at once', async () => {
  const first = gate()
  let attempts = 0
  const pipeline = job('handed-on', async (step) => {
    attempts++
    if (attempts === 1) await first.pass(step.signal)
    return step.transaction(record(step.runId, 'done'))
  })
  const { start } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await first.reached
  await world.join({ pipelines: [pipeline] })
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', begun: 2 })
  expect(await world.effectsOf(run.id)).toEqual(['done'])
})

test('runs of another version are left to nodes of that version', async () => {
  const pipeline = job('versioned', async () => 'done')
  const old = await world.join({ pipelines: [pipeline] })
  await world.db.query("update app_workflow.nodes set beat_at = 'infinity'")
  const { run } = await old.start(pipeline, null, { delayMs: 60_000 })
  const { stats, get } = await world.join({ pipelines: [pipeline], applicationVersion: 'v2' })
  expect((await stats()).stranded).toBe(1)
  expect(await get(run.id)).toMatchObject({ state: 'queued' })
})

test('a dispatch that ended without its run is replaced', async () => {
  const pipeline = job('orphaned', async () => 'done')
  const { start } = await world.join({ pipelines: [pipeline], heartbeatMs: 100, deadAfterMs: 300 })
  const { run } = await start(pipeline, null, { delayMs: 60_000 })
  await world.db.query("update app_dbos.workflow_status set status = 'ERROR' where workflow_uuid = $1", [
    `${run.id}:1`,
  ])
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed' })
})

test('a node leaves while the database is away', async () => {
  await using proxy = await tcpProxy(world.url)
  await using db = await openPostgres({ url: proxy.url, schema: 'app', poolMax: 2 })
  await world.join({ db, pipelines: [job('left', async () => 'done')], heartbeatMs: 100, deadAfterMs: 500 })
  proxy.cut()
  await expect(world.leave()).resolves.toBeUndefined()
})

test('a database that goes away in the middle costs nothing', async () => {
  await using proxy = await tcpProxy(world.url)
  await using db = await openPostgres({ url: proxy.url, schema: 'app', poolMax: 4 })
  const { reached, pass, open } = gate()
  const pipeline = definePipeline<null, Record<'before' | 'during' | 'after', string>>({
    name: 'cut-off',
    version: '1',
    steps: [
      { name: 'before', timeoutMs: 10_000, run: (step) => step.transaction(record(step.runId, 'before')) },
      {
        name: 'during',
        timeoutMs: 10_000,
        async run({ signal }) {
          await pass(signal)
          return 'computed'
        },
      },
      { name: 'after', timeoutMs: 10_000, run: (step) => step.transaction(record(step.runId, 'after')) },
    ],
  })
  const { start } = await world.join({ db, pipelines: [pipeline] })
  const ids: string[] = []
  for (let index = 0; index < 4; index++) ids.push((await start(pipeline, null)).run.id)
  await reached
  proxy.cut()
  open()
  // The steps have ended by then, and nobody could be told.
  await expect(db.ping()).rejects.toThrow()
  proxy.restore()
  // A run whose node could not be told is queued again after five seconds, and looked for every five.
  await eventually(
    async () => {
      const states = await world.db.query(
        "select state, count(*)::int from app_workflow.runs where pipeline = 'cut-off' group by 1",
      )
      expect(states).toEqual([{ state: 'completed', count: ids.length }])
    },
    { timeoutMs: 30_000 },
  )
  for (const id of ids) expect(await world.effectsOf(id)).toEqual(['before', 'after'])
  await world.leave()
}, 60_000)
