import { invalidRequest, RpcError, rpcError } from '@docmesh/rpc'
import { eventually } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { defineJob, type Job, type JobContext, type JobEvent } from './job.ts'
import { gate, openWorld, record, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

const text = (input: unknown): string => {
  if (typeof input === 'string') return input
  throw invalidRequest([{ field: 'input', description: 'write text' }])
}

const work = (
  type: string,
  run: (job: JobContext<string>) => Promise<unknown>,
  options: { queue?: string; retry?: 'any' | 'transient'; maxAttempts?: number } = {},
) => defineJob<string>({ type, check: text, run, ...options })

/** Lets what waits for its time begin now. */
const hurry = (id: string): Promise<unknown> =>
  world.db.query(
    `update app_dbos.workflow_status set delay_until_epoch_ms = 0 where status = 'DELAYED' and workflow_uuid like $1 || ':%'`,
    [id],
  )

/** Keeps what is told of jobs, in the transactions that it is told in. */
const keep = async (tx: Parameters<ReturnType<typeof record>>[0], { id }: Job, event: JobEvent) => {
  const { kind, ...rest } = event
  const { durationMs: _, ...facts } = { durationMs: 0, ...rest }
  await record(id, `${kind} ${JSON.stringify(facts)}`)(tx)
}

test('a job runs with its input, and what happens to it is told once', async () => {
  const type = work('text:keep', (job) =>
    job.transaction(record('kept', `${job.tenant} ${job.requestedBy} ${job.input}`)),
  )
  const { jobs } = await world.join({ pipelines: [], jobs: [type], onJob: keep })
  const { job, existed } = await jobs.enqueue('text:keep', 'hello', { tenant: 'acme', requestedBy: 'ana' })
  expect(existed).toBe(false)
  expect(job).toMatchObject({ type: 'text:keep', state: 'queued', attempts: 0, maxAttempts: 5, priority: 0 })
  await world.ended(job.id)
  expect(await jobs.get(job.id)).toMatchObject({
    state: 'completed',
    input: 'hello',
    tenant: 'acme',
    attempts: 1,
    lastError: '',
    cron: '',
  })
  expect(await world.effectsOf('kept')).toEqual(['acme ana hello'])
  expect(await world.effectsOf(job.id)).toEqual([
    'queued {"waiting":1}',
    'started {"attempt":1}',
    'completed {}',
  ])
  expect(await jobs.get('no-such-job')).toBeUndefined()
})

test('refuses what it does not know or cannot read, and says what to write', async () => {
  const { jobs } = await world.join({
    pipelines: [],
    jobs: [work('text:b', async () => null), work('text:a', async () => null)],
  })
  const refusal = async (enqueued: Promise<unknown>): Promise<string> => {
    const error = await enqueued.catch((reason: unknown) => reason)
    return error instanceof RpcError && error.reason === 'INVALID_REQUEST' ? error.message : String(error)
  }
  expect(await refusal(jobs.enqueue('text:c', ''))).toBe(
    'type: "text:c" is not known; write one of text:a, text:b',
  )
  expect(await refusal(jobs.enqueue('text:a', 7))).toBe('input: write text')
  expect(await refusal(jobs.enqueue('text:a', 'a\0b'))).toContain('input: a value holds the character U+0000')
  expect(await refusal(jobs.enqueue('text:a', 'x'.repeat(65_536)))).toContain('input: at most 65536')
  expect(await refusal(jobs.enqueue('text:a', '', { priority: 1.5 }))).toContain(
    'priority: write a whole number',
  )
  expect(await refusal(jobs.enqueue('text:a', '', { maxAttempts: 101 }))).toContain('max_attempts: ')
  expect(await refusal(jobs.enqueue('text:a', '', { delayMs: -1 }))).toContain('delay: ')
  expect(await refusal(jobs.enqueue('text:a', '', { cron: '* * *' }))).toContain(
    'cron: "* * *" is no schedule',
  )
  expect((await jobs.list({ type: 'text:a' })).jobs).toEqual([])
})

test('queueing twice with one key gives the first job, per tenant', async () => {
  const { jobs } = await world.join({ pipelines: [], jobs: [work('text:once', async () => null)] })
  const first = await jobs.enqueue('text:once', 'a', { tenant: 'x', idempotencyKey: 'k' })
  const second = await jobs.enqueue('text:once', 'b', { tenant: 'x', idempotencyKey: 'k' })
  const other = await jobs.enqueue('text:once', 'c', { tenant: 'y', idempotencyKey: 'k' })
  expect(second).toMatchObject({ existed: true, job: { id: first.job.id, input: 'a' } })
  expect(other.existed).toBe(false)
})

test('the higher priority goes first, and of equal ones the older', async () => {
  const { reached, pass, open } = gate()
  const order: string[] = []
  const type = work(
    'text:order',
    async ({ input, signal }) => {
      if (input === 'holds') await pass(signal)
      else order.push(input)
    },
    { queue: 'one' },
  )
  const { jobs } = await world.join({ pipelines: [], jobs: [type], queues: { one: { concurrency: 1 } } })
  await jobs.enqueue('text:order', 'holds')
  await reached
  const ids: string[] = []
  for (const priority of [0, -5, 7, 100, 0, 3])
    ids.push((await jobs.enqueue('text:order', `${priority} after ${ids.length}`, { priority })).job.id)
  open()
  await Promise.all(ids.map(world.ended))
  expect(order).toEqual(['100 after 3', '7 after 2', '3 after 5', '0 after 0', '0 after 4', '-5 after 1'])
})

test('a tenant with much to do leaves room for another', async () => {
  const { reached, pass, open } = gate()
  const run = async ({ tenant, signal }: JobContext<string>) => {
    if (tenant === 'big') await pass(signal)
  }
  const type = work('text:fair', run, { queue: 'fair' })
  const { jobs } = await world.join({ pipelines: [], jobs: [type] })
  for (let count = 0; count < 30; count++)
    await jobs.enqueue('text:fair', 'much', { tenant: 'big', priority: 9 })
  await reached
  const { job } = await jobs.enqueue('text:fair', 'little', { tenant: 'small' })
  expect(await world.ended(job.id)).toMatchObject({ state: 'completed' })
  await eventually(async () => {
    const fair = (await jobs.stats()).find(({ queue }) => queue === 'fair')
    expect(fair).toMatchObject({ queued: 26, running: 4, completed: 1, dead: 0 })
    expect(fair?.oldestWaitMs).toBeGreaterThan(0)
  })
  const { jobs: page, next } = await jobs.list({ tenant: 'big', states: ['running'] }, { limit: 3 })
  expect(page).toHaveLength(3)
  const rest = await jobs.list({ tenant: 'big', states: ['running'] }, { limit: 3, before: next ?? '' })
  expect(rest).toMatchObject({ jobs: [{ state: 'running' }], next: undefined })
  open()
})

test('a delayed job is scheduled until its time has come', async () => {
  const { jobs } = await world.join({ pipelines: [], jobs: [work('text:later', async () => null)] })
  const { job } = await jobs.enqueue('text:later', '', { delayMs: 3_600_000 })
  expect(job.state).toBe('scheduled')
  expect(job.scheduledFor.getTime() - job.createdAt.getTime()).toBeGreaterThan(3_590_000)
  expect((await jobs.list({ type: 'text:later', states: ['scheduled'] })).jobs.map(({ id }) => id)).toEqual([
    job.id,
  ])
  await hurry(job.id)
  expect(await world.ended(job.id)).toMatchObject({ state: 'completed' })
  expect((await jobs.get(job.id))?.scheduledFor).toEqual(job.scheduledFor)
})

test('a job that fails is tried again after its pause, is dead after its last attempt, and runs when it is retried', async () => {
  let broken = true
  const run = async (job: JobContext<string>) => {
    if (broken) throw new Error(`attempt ${job.attempt} broke`)
    return job.transaction(record('mended', job.input))
  }
  const type = work('text:flaky', run, { queue: 'flaky' })
  const { jobs } = await world.join({ pipelines: [], jobs: [type], onJob: keep })
  const { job } = await jobs.enqueue('text:flaky', 'x', { maxAttempts: 2 })
  await eventually(async () => {
    const seen = await jobs.get(job.id)
    expect(seen).toMatchObject({ state: 'retrying', attempts: 1, lastError: 'attempt 1 broke' })
  })
  expect((await jobs.list({ type: 'text:flaky', states: ['retrying'] })).jobs).toHaveLength(1)
  expect(await jobs.retry(job.id)).toMatchObject({ changed: false })
  await hurry(job.id)
  await world.ended(job.id)
  expect(await jobs.get(job.id)).toMatchObject({ state: 'dead', attempts: 2, lastError: 'attempt 2 broke' })
  expect((await jobs.stats()).find(({ queue }) => queue === 'flaky')?.dead).toBe(1)

  broken = false
  expect(await jobs.retry(job.id, { idempotencyKey: 'again' })).toMatchObject({ changed: true })
  await world.ended(job.id)
  expect(await jobs.retry(job.id, { idempotencyKey: 'again' })).toMatchObject({
    changed: true,
    job: { state: 'completed', attempts: 1 },
  })
  expect(await jobs.retry(job.id, { idempotencyKey: 'other' })).toMatchObject({ changed: false })
  expect(await world.effectsOf('mended')).toEqual(['x'])
  const told = (await world.effectsOf(job.id)).map((line) =>
    line.replace(/"delayMs":\d+(\.\d+)?/, '"delayMs":0'),
  )
  expect(told).toEqual([
    'queued {"waiting":1}',
    'started {"attempt":1}',
    'retrying {"attempt":1,"delayMs":0,"error":"attempt 1 broke"}',
    'started {"attempt":2}',
    'failed {"attempts":2,"error":"attempt 2 broke"}',
    'queued {"waiting":1}',
    'started {"attempt":1}',
    'completed {}',
  ])
})

test('a fork of a job is a run like others: it tries again, and nothing is told of it', async () => {
  let broken = false
  const run = async (job: JobContext<string>) => {
    if (broken && job.attempt === 1) throw new Error('not yet')
    return job.attempt
  }
  const { jobs, fork, outputs } = await world.join({
    pipelines: [],
    jobs: [work('text:forked', run)],
    onJob: keep,
    retryDelayMs: () => 1,
  })
  const { job } = await jobs.enqueue('text:forked', 'x')
  await world.ended(job.id)
  broken = true
  const forked = await fork(job.id)
  expect(await world.ended(forked?.id ?? '')).toMatchObject({ state: 'completed', begun: 1 })
  expect(await outputs(forked?.id ?? '')).toEqual({ run: 2 })
  expect(await world.effectsOf(forked?.id ?? '')).toEqual([])
})

test('an error that will not pass ends a job that tries again only what may', async () => {
  const run = async () => {
    throw rpcError('DOCUMENT_NOT_FOUND', 'No document has the id "x".')
  }
  const { jobs } = await world.join({ pipelines: [], jobs: [work('text:lost', run, { retry: 'transient' })] })
  const { job } = await jobs.enqueue('text:lost', 'x')
  await world.ended(job.id)
  expect(await jobs.get(job.id)).toMatchObject({
    state: 'dead',
    attempts: 1,
    lastError: 'No document has the id "x".',
  })
})

test('a cancelled job stops, and stays cancelled', async () => {
  const { reached, pass } = gate()
  const { jobs } = await world.join({
    pipelines: [],
    jobs: [work('text:stop', ({ signal }) => pass(signal))],
  })
  const { job } = await jobs.enqueue('text:stop', '')
  await reached
  expect(await jobs.cancel(job.id)).toMatchObject({ changed: true, job: { state: 'cancelled' } })
  expect(await jobs.cancel(job.id)).toMatchObject({ changed: false, job: { state: 'cancelled' } })
  expect(await jobs.cancel('no-such-job')).toBeUndefined()
})
