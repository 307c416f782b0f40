import type { Queryable } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDispatches } from './dispatches.ts'
import { createExecutionStore, type Hold, OwnershipLost } from './execution-store.ts'
import type { Pipeline } from './pipeline.ts'
import { gate, job, openWorld, record, type World } from './world.fixture.ts'

/** The fence by itself: no signal, no node, only claims that follow each other. */

const pipeline = job('fenced', async () => null)
let world: World
let count = 0
let runId: string

beforeAll(async () => {
  world = await openWorld()
})
beforeEach(async () => {
  const { start } = await world.join({ pipelines: [pipeline] })
  runId = `run-${++count}`
  await start(pipeline, null, { id: runId, delayMs: 60_000 })
  await world.leave()
})
afterAll(() => world.close())

const storeWith = (idleInTransactionMs: number) =>
  createExecutionStore({
    db: world.db,
    schema: 'app_workflow',
    dispatches: createDispatches({ ours: 'app_workflow', engine: 'app_dbos', channel: 'fenced' }),
    channel: 'fenced',
    idleInTransactionMs,
  })

/** What the engine does when it gives the run to a claim. */
const give = (claim: string, on: Queryable = world.db): Promise<unknown> =>
  on.query(
    "update app_dbos.workflow_status set status = 'PENDING', owner_xid = $2 where workflow_uuid = $1",
    [`${runId}:1`, claim],
  )

const dispatchState = async (): Promise<unknown> => {
  const [row] = await world.db.query(
    'select status, owner_xid from app_dbos.workflow_status where workflow_uuid = $1',
    [`${runId}:1`],
  )
  return row
}

/** Sessions of this database that wait for a lock. */
const waiting = async (): Promise<unknown> => {
  const [row] = await world.db.query<{ count: number }>(
    "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  )
  return row?.count
}

async function begin(claim: string, idleInTransactionMs = 5_000): Promise<Hold | undefined> {
  const begun = await storeWith(idleInTransactionMs).begin({ runId, number: 1 }, claim, () => pipeline, 10)
  return begun?.hold
}

async function beginGiven(claim: string): Promise<Hold> {
  await give(claim)
  const hold = await begin(claim)
  if (!hold) throw new Error(`${claim} was refused`)
  return hold
}

const signal = new AbortController().signal

test('a claim writes until its successor has begun, and nothing after that', async () => {
  const store = storeWith(5_000)
  const first = await beginGiven('first')
  await store.advance(first, { steps: [{ name: 'work', state: 'running' }] })
  await give('second')
  const second = await begin('second')
  await expect(store.effect(first, 'work', 'effect', record(runId, 'zombie'), signal)).rejects.toThrow(
    OwnershipLost,
  )
  await expect(store.advance(first, { state: 'completed' })).rejects.toThrow(OwnershipLost)
  await expect(store.park(first, new Date(), [])).rejects.toThrow(OwnershipLost)
  expect(await world.effectsOf(runId)).toEqual([])
  expect((await store.owners([runId])).get(runId)).toBe('second')
  expect(second?.run).toMatchObject({ state: 'running', begun: 2, dispatch: 1 })
})

test('a claim that ends its run ends its dispatch in the same write', async () => {
  const hold = await beginGiven('first')
  await storeWith(5_000).advance(hold, { state: 'completed' })
  expect(await dispatchState()).toEqual({ status: 'SUCCESS', owner_xid: null })
})

test('a claim whose run went back to the queue ends the run, not the dispatch of its successor', async () => {
  const hold = await beginGiven('first')
  await give('second')
  await storeWith(5_000).advance(hold, { state: 'completed' })
  expect(await dispatchState()).toEqual({ status: 'PENDING', owner_xid: 'second' })
  expect(await begin('second')).toBeUndefined()
})

test('a claim that is not the last one given cannot begin', async () => {
  await give('first')
  await beginGiven('second')
  expect(await begin('first')).toBeUndefined()
  expect((await storeWith(5_000).owners([runId])).get(runId)).toBe('second')
})

test('a claim that is taken away while it begins does not begin', async () => {
  await give('first')
  let beginning: Promise<Hold | undefined> | undefined
  await world.db.transaction(async (tx) => {
    await give('second', tx)
    beginning = begin('first')
    await eventually(async () => expect(await waiting()).toBe(1))
  })
  expect(await beginning).toBeUndefined()
})

test('a run that is queued anew while it begins does not begin', async () => {
  await give('first')
  let beginning: Promise<Hold | undefined> | undefined
  await world.db.transaction(async (tx) => {
    await tx.query('update app_workflow.runs set dispatch = 2 where id = $1', [runId])
    beginning = begin('first')
    await eventually(async () => expect(await waiting()).toBe(1))
  })
  expect(await beginning).toBeUndefined()
})

test('an effect is done once, and answers the same ever after', async () => {
  const store = storeWith(5_000)
  const first = await beginGiven('first')
  expect(await store.effect(first, 'work', 'effect', record(runId, 'one'), signal)).toBe('one')
  const second = await beginGiven('second')
  expect(await store.effect(second, 'work', 'effect', record(runId, 'two'), signal)).toBe('one')
  expect(await store.effect(second, 'work', 'undo_effect', record(runId, 'undo'), signal)).toBe('undo')
  expect(await world.effectsOf(runId)).toEqual(['one', 'undo'])
})

test('an effect whose attempt was given up while it ran is rolled back', async () => {
  const store = storeWith(5_000)
  const hold = await beginGiven('first')
  const attempt = new AbortController()
  const effect = store.effect(
    hold,
    'work',
    'effect',
    async (tx) => {
      await record(runId, 'late')(tx)
      attempt.abort(new Error('too late'))
    },
    attempt.signal,
  )
  await expect(effect).rejects.toThrow('too late')
  expect(await world.effectsOf(runId)).toEqual([])
})

test('a change whose answer was lost is not made twice', async () => {
  const store = storeWith(5_000)
  const hold = await beginGiven('first')
  const unanswered = { ...hold }
  const change = { progress: 50, steps: [{ name: 'work', state: 'completed', output: '7' }] } as const
  await store.advance(hold, change)
  await store.advance(unanswered, change)
  expect(unanswered.run.revision).toBe(hold.run.revision)
})

test('a node that freezes while it begins a run holds nobody up', async () => {
  const { reached, pass, open } = gate()
  const frozen: Pipeline = { ...pipeline, onChange: () => pass(signal) }
  await give('first')
  const beginning = storeWith(100)
    .begin({ runId, number: 1 }, 'first', () => frozen, 10)
    .then(
      () => 'committed',
      () => 'refused',
    )
  await reached
  // Waits for the lock of the dispatch, as those do who give the work of lost nodes back.
  expect((await beginGiven('second')).run.begun).toBe(1)
  open()
  expect(await beginning).toBe('refused')
})

test('a node that freezes while it ends a run holds nobody up', async () => {
  const { reached, pass, open } = gate()
  const hold = await beginGiven('first')
  const ending = storeWith(100)
    .advance({ ...hold, pipeline: { ...pipeline, onChange: () => pass(signal) } }, { state: 'completed' })
    .then(
      () => 'committed',
      () => 'refused',
    )
  await reached
  expect((await beginGiven('second')).run.begun).toBe(2)
  open()
  expect(await ending).toBe('refused')
})

test('a transaction that says nothing loses its lock, so that a frozen node holds nobody up', async () => {
  const hold = await beginGiven('first')
  const { reached, pass, open } = gate()
  const frozen = storeWith(100)
    .effect(hold, 'work', 'effect', () => pass(signal), signal)
    .then(
      () => 'committed',
      () => 'refused',
    )
  await reached
  // Waits for the lock of the run, which the server takes from the frozen one.
  expect((await beginGiven('second')).run.begun).toBe(2)
  open()
  expect(await frozen).toBe('refused')
})
