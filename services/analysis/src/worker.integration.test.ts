import { type Analysis, AnalysisState, Priority } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisCancelled } from '@docmesh/contracts/analysis/v1/events'
import { Code } from '@docmesh/rpc'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Claim } from './store.ts'
import {
  failure,
  type Instance,
  type InstanceOptions,
  type Library,
  startInstance,
  startLibrary,
} from './world.fixture.ts'

const TEXT = '# CONTRATO\n\nO prazo de vigência é de 12 (quatorze) meses.\n'

let stack: AsyncDisposableStack
let database: TestDatabase
let library: Library
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  database = stack.use(await testDatabase())
  library = await startLibrary()
  stack.defer(() => library.close())
})
afterEach(() => stack.disposeAsync())

const instance = async (options: Partial<InstanceOptions> = {}): Promise<Instance> =>
  stack.use(await startInstance({ databaseUrl: database.url, documents: library.address, ...options }))

async function start(
  { client }: Instance,
  documentId = library.put(TEXT),
  priority: Priority = Priority.NORMAL,
) {
  const { analysis } = await client.startAnalysis({ documentId, options: { priority } })
  if (!analysis) throw new Error('the answer has no analysis')
  return analysis.id
}

const get = async ({ client }: Instance, analysisId: string): Promise<Analysis> => {
  const { analysis } = await client.getAnalysis({ analysisId })
  if (!analysis) throw new Error('the answer has no analysis')
  return analysis
}

async function ended({ client }: Instance, analysisId: string): Promise<Analysis> {
  const seen = await Array.fromAsync(client.watchAnalysis({ analysisId }))
  const last = seen.at(-1)?.analysis
  if (!last) throw new Error('the watch showed nothing')
  return last
}

const isRunning = (on: Instance, id: string) =>
  eventually(async () => expect((await get(on, id)).steps[2]).toMatchObject({ name: 'extract', state: 2 }))

const types = async ({ events }: Instance, id: string): Promise<(string | undefined)[]> =>
  (await events.history('analysis', id)).map(({ type }) => type.split('.').at(-1))

const completions = async (on: Instance, id: string) =>
  (await types(on, id)).filter((type) => type === 'AnalysisCompleted').length

/** A document whose text comes when it is told to. */
function held() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { documentId: library.put(TEXT, { ready: () => promise }), release: resolve }
}

/** A worker that claims and is never heard of again. */
async function die(on: Instance, id: string): Promise<Claim> {
  const claim = await on.store.claim('dead', 1, new Date())
  if (claim?.analysis.id !== id) throw new Error('claimed another analysis')
  return claim
}

async function claimed({ db }: Instance): Promise<{ lease_until: Date; fence: bigint }> {
  const [row] = await db.query<{ lease_until: Date; fence: bigint }>(
    'select lease_until, fence from analyses',
  )
  if (!row) throw new Error('no analysis')
  return row
}

it('waits for a document service that is away, and completes when it is back', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  await library.close()
  const worker = await instance({ retryMs: 1_000 })
  await isRunning(service, id)
  await library.reopen()
  expect((await ended(worker, id)).state).toBe(AnalysisState.COMPLETED)
})

it('fails when the document service stays away, and completes when it is asked again later', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  await library.close()
  const worker = await instance()
  const failed = await ended(worker, id)
  expect(failed).toMatchObject({
    state: AnalysisState.FAILED,
    failure: { step: 'extract', reason: 'DEPENDENCY_UNAVAILABLE', retryable: true },
  })
  await library.reopen()
  const { analysis } = await worker.client.retryAnalysis({ analysisId: id })
  expect(analysis).toMatchObject({ state: AnalysisState.QUEUED, failure: undefined, progressPercent: 0 })
  expect(await ended(worker, id)).toMatchObject({ state: AnalysisState.COMPLETED, failure: undefined })
})

it('gives its work back at once when it stops in order', async () => {
  const first = await instance({ leaseMs: 600_000 })
  const { documentId, release } = held()
  const id = await start(first, documentId)
  await isRunning(first, id)
  await first.stopWorker()
  expect(await get(first, id)).toMatchObject({ state: AnalysisState.QUEUED, queuePosition: 1 })
  const second = await instance()
  release()
  expect((await ended(second, id)).state).toBe(AnalysisState.COMPLETED)
  expect((await types(second, id)).filter((type) => type === 'AnalysisStarted')).toHaveLength(1)
})

it('takes over from a worker that died, which can then write nothing', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  const zombie = await die(service, id)
  const worker = await instance()
  const done = await ended(worker, id)
  expect(done.state).toBe(AnalysisState.COMPLETED)
  const before = await types(service, id)

  const { store, db } = service
  const { steps } = zombie.analysis
  const failed = { step: 'rules', reason: 'INTERNAL', message: '', retryable: true } as const
  expect(await store.saveProgress(db, zombie, steps, [])).toBe(false)
  expect(await store.fail(db, zombie, steps, failed, new Date())).toBe(false)
  await service.pipeline(zombie, new AbortController().signal)
  expect(await get(service, id)).toEqual(done)
  expect(await types(service, id)).toEqual(before)
})

it('shuts a worker out whose claim another one has, while both run', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  const zombie = await die(service, id)
  const heir = await eventually(async () => {
    const claim = await service.store.claim('heir', 60_000, new Date())
    if (!claim) throw new Error('the lease lasts')
    return claim
  })
  await service.pipeline(zombie, new AbortController().signal)
  expect((await get(service, id)).state).toBe(AnalysisState.RUNNING)
  expect(await types(service, id)).toEqual(['AnalysisQueued'])
  await service.pipeline(heir, new AbortController().signal)
  expect(await completions(service, id)).toBe(1)
})

it('never shows less progress than before, although another worker begins again', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  const zombie = await die(service, id)
  const steps = zombie.analysis.steps.map((step, index) => {
    const startedAt = new Date().toISOString()
    if (index < 3) return { ...step, state: 'completed' as const, startedAt, endedAt: startedAt }
    return index === 3 ? { ...step, state: 'running' as const, startedAt } : step
  })
  expect(await service.store.saveProgress(service.db, zombie, steps, [])).toBe(true)
  const progress: number[] = []
  const watching = (async () => {
    for await (const { analysis } of service.client.watchAnalysis({ analysisId: id }))
      progress.push(analysis?.progressPercent ?? -1)
  })()
  await eventually(() => expect(new Set(progress)).toEqual(new Set([55]))) // the change before the watch may still be told
  await instance()
  await watching
  expect(progress).toEqual([...progress].sort((a, b) => a - b))
  expect(progress.at(-1)).toBe(100)
})

it('goes on with an analysis that it lost for a moment, and ends it once', async () => {
  const leaseMs = 500
  const service = await instance({ leaseMs })
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let calls = 0
  const documentId = library.put(TEXT, { ready: async () => gates[calls++]?.promise })
  const id = await start(service, documentId)
  await isRunning(service, id)
  await eventually(async () => {
    await service.db.query("update analyses set lease_until = now() - interval '1 second' where fence = 1")
    expect(calls).toBe(2)
  })
  const { lease_until: leaseUntil, fence } = await claimed(service)
  gates[0]?.resolve()
  await eventually(async () =>
    expect((await claimed(service)).lease_until.getTime()).toBeGreaterThan(
      leaseUntil.getTime() + 2 * leaseMs,
    ),
  )
  expect((await claimed(service)).fence).toBe(fence)
  gates[1]?.resolve()
  expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
  expect(await completions(service, id)).toBe(1)
})

it('keeps its claim for longer than one lease', async () => {
  const leaseMs = 500
  const service = await instance({ leaseMs })
  await instance({ leaseMs })
  const { documentId, release } = held()
  const id = await start(service, documentId)
  await isRunning(service, id)
  const first = await claimed(service)
  await eventually(async () =>
    expect((await claimed(service)).lease_until.getTime()).toBeGreaterThan(
      first.lease_until.getTime() + leaseMs,
    ),
  )
  expect((await claimed(service)).fence).toBe(first.fence)
  release()
  await ended(service, id)
})

it('gives an analysis up that ended every worker that took it', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  for (let worker = 0; worker < 10; worker++) await eventually(() => die(service, id))
  await instance()
  const failed = await ended(service, id)
  expect(failed).toMatchObject({
    state: AnalysisState.FAILED,
    failure: { reason: 'INTERNAL', retryable: true },
  })
  await service.client.retryAnalysis({ analysisId: id })
  expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
})

it('completes each of many analyses once, with two workers', async () => {
  const service = await instance({ concurrency: 3 })
  const other = await instance({ concurrency: 3 })
  const documentId = library.put(TEXT)
  const ids = await Promise.all(
    Array.from({ length: 40 }, (_, index) => start(index % 2 === 0 ? service : other, documentId)),
  )
  for (const id of ids) expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
  const rows = await service.db.query<{ count: bigint; aggregates: bigint }>(
    "select count(*), count(distinct aggregate_id) as aggregates from events.log where type like '%.AnalysisCompleted'",
  )
  expect(rows).toEqual([{ count: 40n, aggregates: 40n }])
})

it('runs what is urgent first, and of equals the oldest', async () => {
  const service = await instance({ concurrency: 1 })
  const { documentId, release } = held()
  const blocking = await start(service, documentId)
  await isRunning(service, blocking)
  const wanted = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL, Priority.HIGH]
  const ids: string[] = []
  for (const priority of wanted) ids.push(await start(service, library.put(TEXT), priority))
  const positions = await Promise.all(ids.map(async (id) => (await get(service, id)).queuePosition))
  expect(positions).toEqual([5, 3, 1, 4, 2])
  release()
  for (const id of ids) await ended(service, id)
  const begun = await service.db.query<{ aggregate_id: string }>(
    "select aggregate_id from events.log where type like '%.AnalysisStarted' order by position",
  )
  const order = begun.slice(1).map(({ aggregate_id }) => ids.indexOf(aggregate_id))
  expect(order).toEqual([2, 4, 1, 3, 0])
})

it('cancels what waits and what runs, and leaves alone what has ended', async () => {
  const service = await instance({ concurrency: 1, leaseMs: 600_000 })
  const { documentId, release } = held()
  const running = await start(service, documentId)
  await isRunning(service, running)
  const waiting = await start(service)
  for (const analysisId of [waiting, running]) {
    const { analysis } = await service.client.cancelAnalysis({ analysisId, reason: 'no longer needed' })
    expect(analysis?.state).toBe(AnalysisState.CANCELLED)
    expect(analysis?.endedAt).toBeInstanceOf(Date)
    const event = (await service.events.history('analysis', analysisId)).at(-1)
    expect(AnalysisCancelled.decode(event?.payload ?? Buffer.alloc(0)).reason).toBe('no longer needed')
  }
  const next = await start(service)
  release()
  const done = await ended(service, next)
  expect(done.state).toBe(AnalysisState.COMPLETED)
  expect((await get(service, running)).state).toBe(AnalysisState.CANCELLED)
  expect(await completions(service, running)).toBe(0)

  const { analysis } = await service.client.cancelAnalysis({ analysisId: next, reason: 'too late' })
  expect(analysis).toEqual(done)
  for (const analysisId of [next, running])
    expect(await failure(service.client.retryAnalysis({ analysisId }))).toMatchObject({
      code: Code.FAILED_PRECONDITION,
      reason: 'ANALYSIS_ENDED',
    })
})

it('lets a cancelled analysis go at once, for the next one', async () => {
  const service = await instance({ concurrency: 1, leaseMs: 600_000 })
  const { documentId } = held()
  const running = await start(service, documentId)
  await isRunning(service, running)
  await service.client.cancelAnalysis({ analysisId: running })
  expect((await ended(service, await start(service))).state).toBe(AnalysisState.COMPLETED)
})

it('leaves a queued analysis queued when it is asked to retry it', async () => {
  const service = await instance({ concurrency: 0 })
  const id = await start(service)
  const { analysis } = await service.client.retryAnalysis({ analysisId: id })
  expect(analysis?.state).toBe(AnalysisState.QUEUED)
  expect(await types(service, id)).toEqual(['AnalysisQueued'])
})
