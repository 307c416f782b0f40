import { silentLogger } from '@docmesh/telemetry'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDispatches } from './dispatches.ts'
import { createExecutionStore } from './execution-store.ts'
import { definePipeline } from './pipeline.ts'
import { createRunner } from './runner.ts'
import { gate, job, openWorld, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

test('an execution that ends early stops the steps that are under way beside', async () => {
  const slow = gate()
  const signals: AbortSignal[] = []
  let broken = true
  const pipeline = definePipeline<null, Record<'quick' | 'slow', null>>({
    name: 'beside',
    version: '1',
    steps: [
      {
        name: 'quick',
        timeoutMs: 60_000,
        run: () => slow.reached.then(() => null),
      },
      {
        name: 'slow',
        after: [],
        timeoutMs: 60_000,
        async run({ signal }) {
          signals.push(signal)
          if (signals.length === 1) await slow.pass(signal)
          return null
        },
      },
    ],
    async onChange(_, { progress }) {
      if (progress === 0 || !broken) return
      broken = false
      throw new Error('no room for the event')
    },
  })
  const { start } = await world.join({ pipelines: [pipeline], heartbeatMs: 100, deadAfterMs: 1_000 })
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', begun: 2 })
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false])
})

test('an execution that is stopped while it begins hears of it', async () => {
  const done: string[] = []
  const pipeline = job('begins', async ({ runId }) => void done.push(runId))
  const { start, pause } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null, { delayMs: 60_000 })
  await world.db.query(
    "update app_dbos.workflow_status set status = 'PENDING', owner_xid = 'claim' where workflow_uuid = $1",
    [`${run.id}:1`],
  )
  const store = createExecutionStore({
    db: world.db,
    schema: 'app_workflow',
    dispatches: createDispatches({ ours: 'app_workflow', engine: 'app_dbos', channel: 'begins' }),
    channel: 'begins',
    idleInTransactionMs: 5_000,
  })
  const runner = createRunner({
    store: {
      ...store,
      // The notification is quicker than the answer to the commit.
      async begin(...args) {
        const begun = await store.begin(...args)
        await pause(run.id)
        await runner.recheck(run.id)
        return begun
      },
    },
    pipelineOf: () => pipeline,
    mediansMs: async () => new Map(),
    maxBegun: 10,
    retryDelayMs: () => 0,
    logger: silentLogger,
    observe: () => {},
  })
  expect(await runner.run({ runId: run.id, number: 1 }, 'claim')).toBe(false)
  expect(done).toEqual([])
})
