import { createMetrics } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineJob } from './job.ts'
import { gate, job, openWorld, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

test('runs, steps, depths, dead letters and take-overs are counted', async () => {
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const { reached, pass, open } = gate()
  const pipeline = job('counted', ({ signal }) => pass(signal))
  const broken = defineJob({
    type: 'count:broken',
    check: (input) => input,
    run: () => Promise.reject(new Error('broken')),
  })
  const first = await world.join({ pipelines: [pipeline], jobs: [broken], metrics })
  const { run } = await first.start(pipeline, null)
  await reached
  const { job: dead } = await first.jobs.enqueue('count:broken', null, { maxAttempts: 1 })
  await world.ended(dead.id)
  open()
  await world.ended(run.id)
  const lines = async (): Promise<string[]> => (await metrics.render()).body.split('\n')
  expect(await lines()).toEqual(
    expect.arrayContaining([
      'docmesh_workflow_runs_total{pipeline="counted",state="queued"} 1',
      'docmesh_workflow_runs_total{pipeline="counted",state="completed"} 1',
      'docmesh_workflow_runs_total{pipeline="count:broken",state="dead"} 1',
      'docmesh_workflow_step_seconds_count{pipeline="counted",step="work",outcome="completed"} 1',
      'docmesh_workflow_step_seconds_count{pipeline="count:broken",step="run",outcome="failed"} 1',
      'docmesh_workflow_queue_depth{queue="default"} 0',
    ]),
  )

  // Work in hand of an executor that is no node any more.
  await world.leave()
  const second = await world.join({ pipelines: [pipeline], jobs: [broken], metrics })
  await eventually(async () => {
    expect(await lines()).toContain('docmesh_workflow_dead_letters{pipeline="count:broken"} 1')
  })
  const left = await second.start(pipeline, null, { delayMs: 60_000 })
  await world.db.query(
    "update app_dbos.workflow_status set status = 'PENDING', executor_id = 'gone' where workflow_uuid = $1",
    [`${left.run.id}:1`],
  )
  await eventually(async () => {
    expect(await lines()).toContain('docmesh_workflow_takeovers_total 1')
  })
  expect(await world.ended(left.run.id)).toMatchObject({ state: 'completed' })
})
