import { rpcError } from '@docmesh/rpc'
import { eventually } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { definePipeline, skip } from './pipeline.ts'
import type { Run } from './run.ts'
import { gate, job, openWorld, record, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

/** a → b → c, each with an effect and a compensation; `fail` says what b throws. */
const undoable = (fail: () => Error | undefined) =>
  definePipeline<null, Record<'a' | 'b' | 'c', string>>({
    name: 'undoable',
    version: '1',
    steps: (['a', 'b', 'c'] as const).map((name) => ({
      name,
      timeoutMs: 5_000,
      retry: 'none' as const,
      async run(step) {
        const error = name === 'c' ? fail() : undefined
        if (error) throw error
        return step.transaction(record(step.runId, name))
      },
      compensate: async (step) => {
        await step.transaction(record(step.runId, `undo ${name} of ${step.output(name)}`))
      },
    })),
  })

test('runs the steps in their order, hands outputs on and keeps each effect', async () => {
  const pipeline = definePipeline<
    { size: number },
    { count: number; double: string; odd: undefined; sum: number }
  >({
    name: 'numbers',
    version: '1',
    steps: [
      { name: 'count', timeoutMs: 1_000, run: async ({ input }) => input.size },
      { name: 'double', timeoutMs: 1_000, run: (step) => step.transaction(record(step.runId, 'double')) },
      { name: 'odd', after: ['count'], timeoutMs: 1_000, run: async () => skip('even') },
      {
        name: 'sum',
        after: ['double', 'odd'],
        timeoutMs: 1_000,
        run: async (step) => step.output('count') + 1,
      },
    ],
  })
  const { start, outputs } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, { size: 4 }, { tenant: 'acme' })
  const last = await world.ended(run.id)
  expect(last).toMatchObject({ state: 'completed', progress: 100, tenant: 'acme', begun: 1 })
  expect(last.steps.map(({ name, state, detail }) => [name, state, detail])).toEqual([
    ['count', 'completed', ''],
    ['double', 'completed', ''],
    ['odd', 'skipped', 'even'],
    ['sum', 'completed', ''],
  ])
  expect(await outputs(run.id)).toEqual({ count: 4, double: 'double', sum: 5 })
  expect(await world.effectsOf(run.id)).toEqual(['double'])
})

test('a failed run takes back what it did, latest first, and a retry does all of that again', async () => {
  let broken = true
  const pipeline = undoable(() => (broken ? rpcError('DOCUMENT_NOT_FOUND', 'too much') : undefined))
  const { start, retry } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  const failed = await world.ended(run.id)
  expect(failed).toMatchObject({
    state: 'failed',
    failure: { step: 'c', reason: 'DOCUMENT_NOT_FOUND', message: 'too much' },
  })
  expect(failed.steps.map(({ state }) => state)).toEqual(['undone', 'undone', 'failed'])
  expect(await world.effectsOf(run.id)).toEqual(['a', 'b', 'undo b of b', 'undo a of a'])

  broken = false
  expect(await retry(run.id)).toMatchObject({ changed: true, run: { state: 'queued', progress: 0 } })
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', failure: undefined })
  expect((await world.effectsOf(run.id)).slice(4)).toEqual(['a', 'b', 'c'])
  expect(await retry(run.id)).toMatchObject({ changed: false, run: { state: 'completed' } })
})

test('a retry begins at the failed step and keeps what the others returned', async () => {
  let broken = true
  const pipeline = definePipeline<null, Record<'first' | 'second', string>>({
    name: 'resumable',
    version: '1',
    steps: [
      { name: 'first', timeoutMs: 1_000, run: (step) => step.transaction(record(step.runId, 'first')) },
      {
        name: 'second',
        timeoutMs: 1_000,
        retry: 'none',
        async run(step) {
          await step.transaction(record(step.runId, 'second'))
          if (broken) throw new Error('after the effect')
          return step.output('first')
        },
      },
    ],
  })
  const { start, retry, outputs } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({ state: 'failed', progress: 50 })
  broken = false
  await retry(run.id)
  await world.ended(run.id)
  expect(await outputs(run.id)).toEqual({ first: 'first', second: 'first' })
  expect(await world.effectsOf(run.id)).toEqual(['first', 'second'])
})

test('cancel stops the step under way and takes back what was done', async () => {
  const { reached, pass } = gate()
  const pipeline = definePipeline<null, Record<'done' | 'waits', string>>({
    name: 'cancellable',
    version: '1',
    steps: [
      {
        name: 'done',
        timeoutMs: 1_000,
        run: (step) => step.transaction(record(step.runId, 'done')),
        compensate: async (step) => {
          await step.transaction(record(step.runId, 'undone'))
        },
      },
      {
        name: 'waits',
        timeoutMs: 60_000,
        async run(step) {
          await pass(step.signal).catch(() => {})
          // Ignores the signal; the fence does not.
          return step.transaction(record(step.runId, 'too late'))
        },
      },
    ],
  })
  const { start, cancel } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await reached
  expect(await cancel(run.id)).toMatchObject({ changed: true, run: { state: 'compensating' } })
  expect(await world.ended(run.id)).toMatchObject({ state: 'cancelled', failure: undefined })
  expect(await world.effectsOf(run.id)).toEqual(['done', 'undone'])
  expect(await cancel(run.id)).toMatchObject({ changed: false })
  expect(await cancel('no-such-run')).toBeUndefined()
})

test('a paused run does nothing until it is resumed, then does the step under way again', async () => {
  let attempts = 0
  const first = gate()
  const pipeline = job('pausable', async (step) => {
    attempts++
    if (attempts === 1) await first.pass(step.signal)
    return step.transaction(record(step.runId, 'work'))
  })
  const { start, pause, resume, get } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await first.reached
  expect(await pause(run.id)).toMatchObject({ changed: true, run: { state: 'paused' } })
  first.open()
  expect(await resume(run.id)).toMatchObject({ changed: true, run: { state: 'queued' } })
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed' })
  expect(attempts).toBe(2)
  expect(await world.effectsOf(run.id)).toEqual(['work'])
  expect(await pause(run.id)).toMatchObject({ changed: false })
  expect(await get(run.id)).toMatchObject({ state: 'completed' })
})

test('an attempt that takes too long is given up, also when it does not listen', async () => {
  const pipeline = definePipeline<null, { deaf: string }>({
    name: 'deaf',
    version: '1',
    steps: [{ name: 'deaf', timeoutMs: 50, retry: 'none', run: () => new Promise(() => {}) }],
  })
  const { start } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({ state: 'failed', failure: { reason: 'TimeoutError' } })
})

test('a failed attempt is repeated as its retry class says, and counted', async () => {
  let left = 1
  const pipeline = job(
    'flaky',
    async () => {
      if (left-- > 0) throw new Error('not yet')
      return 'done'
    },
    { retry: 'any' },
  )
  const { start } = await world.join({ pipelines: [pipeline], random: () => 0 })
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({
    state: 'completed',
    steps: [{ attempts: 2, state: 'completed' }],
  })
})

test('a fork keeps what comes before the step that it begins at', async () => {
  const pipeline = undoable(() => undefined)
  const { start, fork, outputs } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null, { tenant: 'acme' })
  await world.ended(run.id)
  const forked = await fork(run.id, { fromStep: 'c', id: 'again' })
  expect(forked).toMatchObject({ id: 'again', forkedFrom: run.id, tenant: 'acme' })
  expect(await world.ended('again')).toMatchObject({ state: 'completed' })
  expect(await world.effectsOf('again')).toEqual(['c'])
  expect(await outputs('again')).toEqual({ a: 'a', b: 'b', c: 'c' })
  expect(await fork('no-such-run')).toBeUndefined()
})

test('a fork reads in the transaction that it is given', async () => {
  const pipeline = job('forked-at-once', async () => 'done')
  const { start, fork } = await world.join({ pipelines: [pipeline] })
  const forked = await world.db.transaction(async (tx) => {
    const { run } = await start(pipeline, null, { tx, delayMs: 60_000 })
    return fork(run.id, { tx })
  })
  expect(await world.ended(forked?.id ?? '')).toMatchObject({ state: 'completed' })
})

test('changes are told in the transaction that makes them, in order and once', async () => {
  const pipeline = definePipeline<null, Record<'one' | 'two', number>>({
    name: 'told',
    version: '1',
    steps: [
      { name: 'one', timeoutMs: 1_000, run: async () => 1 },
      { name: 'two', timeoutMs: 1_000, run: async () => 2 },
    ],
    onChange: async (tx, { id, state, progress }, before) => {
      await record(id, `${before ?? 'new'} → ${state} ${progress}`)(tx)
    },
  })
  const { start } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await world.ended(run.id)
  expect(await world.effectsOf(run.id)).toEqual([
    'new → queued 0',
    'queued → running 0',
    'running → running 0',
    'running → running 50',
    'running → completed 100',
  ])
})

test('watch shows the run as it goes and ends with it', async () => {
  const { reached, pass, open } = gate()
  const pipeline = job('watched', ({ signal }) => pass(signal))
  const { start, watch } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await reached
  const seen: Run['state'][] = []
  for await (const { state } of watch(run.id, AbortSignal.timeout(10_000))) {
    seen.push(state)
    open()
  }
  expect(seen[0]).toBe('running')
  expect(seen.at(-1)).toBe('completed')
})

test('progress goes by what recent runs took', async () => {
  const { reached, pass, open } = gate()
  let waits = false
  const pipeline = definePipeline<null, Record<'long' | 'short', null>>({
    name: 'uneven',
    version: '1',
    steps: [
      { name: 'long', timeoutMs: 10_000, run: async () => null },
      {
        name: 'short',
        timeoutMs: 10_000,
        async run({ signal }) {
          if (waits) await pass(signal)
          return null
        },
      },
    ],
  })
  const first = await world.join({ pipelines: [pipeline] })
  await world.ended((await first.start(pipeline, null)).run.id)
  await world.db.query(
    `update app_workflow.steps set started_at = ended_at - case name when 'long' then interval '8.999 s' else interval '0.999 s' end
     where pipeline = 'uneven'`,
  )
  const { start, get } = await world.join({ pipelines: [pipeline] })
  waits = true
  const { run } = await start(pipeline, null)
  await reached
  expect(await get(run.id)).toMatchObject({ progress: 90 })
  open()
  expect(await world.ended(run.id)).toMatchObject({ progress: 100 })
})

test('a long pause before the next attempt gives the place to others and survives this node', async () => {
  let left = 1
  const pipeline = job(
    'parked',
    async ({ attempt }) => {
      if (left-- > 0) throw new Error('not yet')
      return attempt
    },
    { retry: 'any' },
  )
  // Six seconds: more than a step may keep its place for.
  const { start, get, outputs } = await world.join({ pipelines: [pipeline], retryDelayMs: () => 6_000 })
  const { run } = await start(pipeline, null)
  await eventually(async () => {
    expect(await get(run.id)).toMatchObject({
      state: 'queued',
      steps: [{ state: 'running', attempts: 2, detail: 'not yet' }],
    })
  })
  expect((await get(run.id))?.dueAt?.getTime()).toBeGreaterThan(Date.now() + 1_000)
  await world.db.query(
    'update app_dbos.workflow_status set delay_until_epoch_ms = 0 where workflow_uuid = $1',
    [`${run.id}:2`],
  )
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed' })
  expect(await outputs(run.id)).toEqual({ work: 2 })
})
