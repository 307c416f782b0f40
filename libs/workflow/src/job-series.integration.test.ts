import { eventually } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { defineJob, type Job, type JobContext, type Jobs } from './job.ts'
import { gate, openWorld, record, type World } from './world.fixture.ts'

/** Schedules: each run makes the next one in the transaction in which it ends. */

const MINUTE_MS = 60_000
let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

const ticking = (type: string, run: (job: JobContext<unknown>) => Promise<unknown>) =>
  defineJob({ type, check: (input) => input, run })

const hurry = (id: string): Promise<unknown> =>
  world.db.query(
    `update app_dbos.workflow_status set delay_until_epoch_ms = 0 where status = 'DELAYED' and workflow_uuid like $1 || ':%'`,
    [id],
  )

const waitingOf = async (jobs: Jobs, type: string): Promise<readonly Job[]> =>
  (await jobs.list({ type, states: ['scheduled', 'queued', 'running', 'retrying'] })).jobs

test('each run of a schedule makes the next one, with all that was asked for', async () => {
  const type = ticking('tick:minute', (job) => job.transaction(record('tick:minute', job.jobId)))
  const { jobs } = await world.join({ pipelines: [], jobs: [type] })
  const options = { cron: '* * * * *', tenant: 'acme', requestedBy: 'ana', priority: 3, maxAttempts: 2 }
  const first = (await jobs.enqueue('tick:minute', { of: 'acme' }, options)).job
  expect(first.state).toBe('scheduled')
  expect(first.scheduledFor.getTime() % MINUTE_MS).toBe(0)
  await hurry(first.id)
  await world.ended(first.id)
  const [second, ...more] = await waitingOf(jobs, 'tick:minute')
  expect(more).toEqual([])
  expect(second).toMatchObject({
    state: 'scheduled',
    cron: '* * * * *',
    tenant: 'acme',
    requestedBy: 'ana',
    input: { of: 'acme' },
    priority: 3,
    maxAttempts: 2,
  })
  // The first one ran before its time: the second does not take that time again.
  expect(second?.scheduledFor.getTime()).toBe(first.scheduledFor.getTime() + MINUTE_MS)
  expect(await world.effectsOf('tick:minute')).toEqual([first.id])
})

test('after an outage a schedule catches up once', async () => {
  let now = new Date()
  const type = ticking('tick:late', (job) => job.transaction(record('tick:late', job.jobId)))
  const { jobs } = await world.join({ pipelines: [], jobs: [type], clock: () => now })
  const first = (await jobs.enqueue('tick:late', null, { cron: '*/5 * * * *' })).job
  now = new Date(now.getTime() + 3 * 60 * MINUTE_MS)
  await hurry(first.id)
  await world.ended(first.id)
  const waiting = await waitingOf(jobs, 'tick:late')
  expect(waiting).toHaveLength(1)
  const inMs = (waiting[0]?.scheduledFor.getTime() ?? 0) - now.getTime()
  expect(inMs).toBeGreaterThan(0)
  expect(inMs).toBeLessThanOrEqual(5 * MINUTE_MS)
  expect(await world.effectsOf('tick:late')).toEqual([first.id])
})

test('to cancel any run of a schedule, also one that has ended, ends the schedule', async () => {
  const { jobs } = await world.join({ pipelines: [], jobs: [ticking('tick:ends', async () => null)] })
  const first = (await jobs.enqueue('tick:ends', null, { cron: '0 0 1 1 *' })).job
  await hurry(first.id)
  await world.ended(first.id)
  const [second] = await waitingOf(jobs, 'tick:ends')
  expect(await jobs.cancel(first.id)).toMatchObject({
    changed: true,
    job: { id: second?.id, state: 'cancelled' },
  })
  expect(await waitingOf(jobs, 'tick:ends')).toEqual([])
  expect(await jobs.cancel(first.id)).toMatchObject({
    changed: false,
    job: { id: second?.id, state: 'cancelled' },
  })
  const only = (await jobs.enqueue('tick:ends', null, { cron: '0 0 1 1 *' })).job
  await jobs.cancel(only.id)
  expect(await waitingOf(jobs, 'tick:ends')).toEqual([])
})

test('a dead run does not stop its schedule, and when it is retried it runs for itself', async () => {
  let broken = true
  const type = ticking('tick:dies', async (job) => {
    if (broken) throw new Error('broken')
    return job.transaction(record('tick:dies', job.jobId))
  })
  const { jobs } = await world.join({ pipelines: [], jobs: [type] })
  const first = (await jobs.enqueue('tick:dies', null, { cron: '0 0 1 1 *', maxAttempts: 1 })).job
  await hurry(first.id)
  await world.ended(first.id)
  const [second] = await waitingOf(jobs, 'tick:dies')
  expect(second).toMatchObject({ state: 'scheduled', cron: '0 0 1 1 *' })
  broken = false
  expect(await jobs.retry(first.id)).toMatchObject({ changed: true, job: { cron: '' } })
  await world.ended(first.id)
  expect(await world.effectsOf('tick:dies')).toEqual([first.id])
  expect((await waitingOf(jobs, 'tick:dies')).map(({ id }) => id)).toEqual([second?.id])
})

test('a schedule goes on with the next version when no node runs the one that it was made with', async () => {
  const type = ticking('tick:release', (job) => job.transaction(record('tick:release', job.jobId)))
  const soon = { heartbeatMs: 100, deadAfterMs: 300 }
  const old = await world.join({ pipelines: [], jobs: [type], applicationVersion: 'old', ...soon })
  const { job } = await old.jobs.enqueue('tick:release', null, { cron: '0 0 1 1 *' })
  const { jobs } = await world.join({ pipelines: [], jobs: [type], applicationVersion: 'new', ...soon })
  await eventually(async () => {
    const rows = await world.db.query('select app_version from app_workflow.runs where id = $1', [job.id])
    expect(rows).toEqual([{ app_version: 'new' }])
  })
  expect(await jobs.get(job.id)).toMatchObject({ state: 'scheduled', scheduledFor: job.scheduledFor })
  await hurry(job.id)
  await world.ended(job.id)
  expect(await world.effectsOf('tick:release')).toEqual([job.id])
})

test('when a run is taken over while it works, both try to make the next one and one does', async () => {
  const zombie = gate()
  let ended = false
  let attempts = 0
  const type = ticking('tick:race', async () => {
    attempts++
    // Deaf to its signal, as a frozen process is.
    if (attempts === 1) await zombie.pass(new AbortController().signal).finally(() => (ended = true))
    return attempts
  })
  const { jobs, node } = await world.join({ pipelines: [], jobs: [type] })
  const first = (await jobs.enqueue('tick:race', null, { cron: '0 0 1 1 *' })).job
  await hurry(first.id)
  await zombie.reached
  await world.db.query(
    `update app_dbos.workflow_status set status = 'ENQUEUED', owner_xid = null where executor_id = $1 and status = 'PENDING'`,
    [node],
  )
  expect(await world.ended(first.id)).toMatchObject({ state: 'completed', begun: 2 })
  zombie.open()
  await eventually(() => expect(ended).toBe(true))
  await world.leave()
  const rows = await world.db.query(
    `select ended_at is null as open from app_workflow.runs where pipeline = 'tick:race' order by seq`,
  )
  expect(rows).toEqual([{ open: false }, { open: true }])
})

test('a next run that cannot be told of takes the end of this one with it, until it can', async () => {
  let first: string | undefined
  let told = 0
  const { jobs } = await world.join({
    pipelines: [],
    jobs: [ticking('tick:told', async () => null)],
    async onJob(_, job, { kind }) {
      if (kind !== 'queued' || !first || job.id === first) return
      told++
      if (told === 1) throw new Error('no room for the event')
    },
    heartbeatMs: 100,
    deadAfterMs: 300,
  })
  const { job } = await jobs.enqueue('tick:told', null, { cron: '0 0 1 1 *' })
  first = job.id
  await hurry(job.id)
  await world.ended(job.id)
  expect(told).toBe(2)
  expect(await waitingOf(jobs, 'tick:told')).toHaveLength(1)
})
