import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { defineJob } from './job.ts'
import { job, openWorld, type World } from './world.fixture.ts'

/** Half of 😀, as it stays behind when a text is cut between two of its UTF-16 units. */
const HALF = '😀'.slice(0, 1)
let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

test('a run ends when its failure says what PostgreSQL cannot store', async () => {
  const pipeline = job('cut', async () => {
    throw new Error(`no rule for "${HALF}`)
  })
  const { start } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({
    state: 'failed',
    begun: 1,
    failure: { step: 'work', message: 'no rule for "\ufffd' },
  })
})

test('a step that returns what PostgreSQL cannot store has failed', async () => {
  const pipeline = job('half', async () => ({ quote: HALF }))
  const { start } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({
    state: 'failed',
    begun: 1,
    failure: { step: 'work', reason: 'TypeError' },
  })
})

test.each([HALF, 'a\0b'])('a job whose input PostgreSQL cannot store is refused', async (text) => {
  const type = defineJob({ type: 'text:any', check: (input) => input, run: async () => null })
  const { jobs } = await world.join({ pipelines: [], jobs: [type] })
  await expect(jobs.enqueue('text:any', { text })).rejects.toMatchObject({ reason: 'INVALID_REQUEST' })
})
