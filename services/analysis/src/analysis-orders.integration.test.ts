import { type Analysis, AnalysisState, Priority, StepState } from '@docmesh/contracts/analysis/v1/analysis'
import {
  AnalysisCancelled,
  AnalysisProgressUpdated,
  AnalysisQueued,
} from '@docmesh/contracts/analysis/v1/events'
import { Code, msOf } from '@docmesh/rpc'
import { eventually, testDatabase } from '@docmesh/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ended, get, isRunning, openSaga, type Saga, start, TEXT, types } from './saga.fixture.ts'
import { failure, type Instance } from './world.fixture.ts'

let saga: Saga
beforeEach(async () => {
  saga = await openSaga(await testDatabase())
})
afterEach(() => saga[Symbol.asyncDispose]())

const completions = async (on: Instance, id: string) =>
  (await types(on, id)).filter((type) => type === 'AnalysisCompleted').length

const steps = ({ steps }: Analysis, ...names: string[]) => steps.filter(({ name }) => names.includes(name))

it('runs what is urgent first, and of equals the oldest', async () => {
  const service = await saga.instance({ concurrency: 1 })
  const { documentId, release } = saga.held()
  const blocking = await start(service, documentId)
  await isRunning(service, blocking)
  const wanted = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL, Priority.HIGH]
  const ids: string[] = []
  for (const priority of wanted) ids.push(await start(service, saga.library.put(TEXT), priority))
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

it('lets a tenant with one analysis pass another with many', async () => {
  const service = await saga.instance({ concurrency: 1 })
  const { documentId, release } = saga.held()
  const blocking = await start(service, documentId)
  await isRunning(service, blocking)
  const many: string[] = []
  for (let count = 0; count < 20; count++) many.push(await start(service, saga.library.put(TEXT)))
  const rival = { client: service.clientAs('rival') }
  const one = await start(rival, saga.library.put(TEXT, { tenantId: 'rival' }))
  expect((await get(rival, one)).queuePosition).toBe(1)
  release()
  expect((await ended(rival, one)).state).toBe(AnalysisState.COMPLETED)
  const begun = await service.db.query<{ aggregate_id: string }>(
    "select aggregate_id from events.log where type like '%.AnalysisStarted' order by position",
  )
  // Turns are drawn: that it comes last of all is one chance in a million.
  const before = begun.findIndex(({ aggregate_id }) => aggregate_id === one)
  expect(before).toBeGreaterThan(0)
  expect(before).toBeLessThanOrEqual(many.length)
})

it('cancels what waits and what runs, and leaves alone what has ended', async () => {
  const service = await saga.instance({ concurrency: 1 })
  const { documentId, release } = saga.held()
  const running = await start(service, documentId)
  await isRunning(service, running)
  const waiting = await start(service, saga.library.put(TEXT))
  for (const analysisId of [waiting, running]) {
    const { analysis } = await service.client.cancelAnalysis({ analysisId, reason: 'no longer needed' })
    expect(analysis?.state).toBe(AnalysisState.CANCELLED)
    expect(analysis?.endedAt).toBeInstanceOf(Date)
    expect(analysis?.steps.some(({ state }) => state === StepState.RUNNING)).toBe(false)
    const event = (await service.events.history('analysis', analysisId)).at(-1)
    expect(AnalysisCancelled.decode(event?.payload ?? Buffer.alloc(0)).reason).toBe('no longer needed')
  }
  const next = await start(service, saga.library.put(TEXT))
  release()
  const done = await ended(service, next)
  expect(done.state).toBe(AnalysisState.COMPLETED)
  expect((await get(service, running)).state).toBe(AnalysisState.CANCELLED)
  expect(await completions(service, running)).toBe(0)

  const { analysis } = await service.client.cancelAnalysis({ analysisId: next, reason: 'too late' })
  expect(analysis).toEqual(done)
  for (const analysisId of [next, running])
    for (const order of [service.client.retryAnalysis, service.client.pauseAnalysis])
      expect(await failure(order({ analysisId }))).toMatchObject({
        code: Code.FAILED_PRECONDITION,
        reason: 'ANALYSIS_ENDED',
      })
})

it('lets a cancelled analysis go at once, for the next one', async () => {
  const service = await saga.instance({ concurrency: 1 })
  const { documentId } = saga.held()
  const running = await start(service, documentId)
  await isRunning(service, running)
  await service.client.cancelAnalysis({ analysisId: running })
  const next = await start(service, saga.library.put(TEXT))
  expect((await ended(service, next)).state).toBe(AnalysisState.COMPLETED)
})

it('pauses what runs and what waits, does nothing with it until it is resumed, and then ends it once', async () => {
  const service = await saga.instance({ concurrency: 1 })
  const { client } = service
  const { documentId, release } = saga.held()
  const running = await start(service, documentId)
  await isRunning(service, running)
  const waiting = await start(service, saga.library.put(TEXT))
  for (const analysisId of [running, waiting, running]) {
    const { analysis } = await client.pauseAnalysis({ analysisId })
    expect(analysis).toMatchObject({ state: AnalysisState.PAUSED, queuePosition: 0, endedAt: undefined })
  }
  release()
  // Whatever waited before it has had its turn by then.
  const other = await start(service, saga.library.put(TEXT), Priority.LOW)
  await ended(service, other)
  expect((await client.listAnalyses({ states: [AnalysisState.PAUSED] })).analyses).toHaveLength(2)
  for (const analysisId of [running, waiting]) {
    const { analysis } = await client.resumeAnalysis({ analysisId })
    expect(analysis?.state).toBe(AnalysisState.QUEUED)
    expect((await ended(service, analysisId)).state).toBe(AnalysisState.COMPLETED)
    expect(await failure(client.resumeAnalysis({ analysisId }))).toMatchObject({
      code: Code.FAILED_PRECONDITION,
      reason: 'ANALYSIS_NOT_PAUSED',
    })
  }
  expect((await types(service, running)).slice(0, 5)).toEqual([
    'AnalysisQueued',
    'AnalysisStarted',
    'AnalysisProgressUpdated',
    'AnalysisQueued',
    'AnalysisProgressUpdated',
  ])
  expect((await types(service, waiting)).slice(0, 3)).toEqual([
    'AnalysisQueued',
    'AnalysisQueued',
    'AnalysisStarted',
  ])
  expect(await completions(service, running)).toBe(1)
})

it('cancels what is paused', async () => {
  const service = await saga.instance()
  const id = await start(service, saga.held().documentId)
  await isRunning(service, id)
  await service.client.pauseAnalysis({ analysisId: id })
  const { analysis } = await service.client.cancelAnalysis({ analysisId: id })
  expect(analysis?.state).toBe(AnalysisState.CANCELLED)
})

it('leaves a queued analysis queued when it is asked to retry it', async () => {
  const service = await saga.instance({ concurrency: 0 })
  const id = await start(service, saga.library.put(TEXT))
  const { analysis } = await service.client.retryAnalysis({ analysisId: id })
  expect(analysis?.state).toBe(AnalysisState.QUEUED)
  expect(await types(service, id)).toEqual(['AnalysisQueued'])
})

it('carries an order out once, however often it comes with its request id', async () => {
  const service = await saga.instance()
  const { client } = service
  const id = await start(service, saga.library.put(undefined))
  await ended(service, id)
  const retry = () => client.retryAnalysis({ analysisId: id, requestId: 'once' })
  await Promise.all([retry(), retry()])
  await ended(service, id)
  expect((await retry()).analysis?.state).toBe(AnalysisState.FAILED)
  expect((await types(service, id)).filter((type) => type === 'AnalysisFailed')).toHaveLength(2)
  await client.retryAnalysis({ analysisId: id, requestId: 'twice' })
  await ended(service, id)
  expect((await types(service, id)).filter((type) => type === 'AnalysisFailed')).toHaveLength(3)

  const paused = await start(service, saga.held().documentId)
  await isRunning(service, paused)
  await client.pauseAnalysis({ analysisId: paused, requestId: 'once' })
  const resume = () => client.resumeAnalysis({ analysisId: paused, requestId: 'once' })
  await resume()
  await isRunning(service, paused)
  expect((await resume()).analysis?.state).toBe(AnalysisState.RUNNING)
  await client.pauseAnalysis({ analysisId: paused, requestId: 'once' })
  expect((await get(service, paused)).state).toBe(AnalysisState.RUNNING)
})

it('analyses the same text again with other packs, or with the newest of those asked for, once per request id', async () => {
  const service = await saga.instance()
  const { client } = service
  const documentId = saga.library.put(TEXT)
  const { analysis: first } = await client.startAnalysis({
    documentId,
    options: { rulePacks: ['core.contract@1.0.0'], locale: 'pt-BR', notify: true },
  })
  const analysisId = first?.id ?? ''
  const before = await ended(service, analysisId)
  const rerun = (rulePacks: string[], requestId = '') =>
    client.rerunAnalysis({ analysisId, rulePacks, requestId })
  const twice = await Promise.all([rerun(['core.document'], 'a'), rerun(['core.document'], 'a')])
  const [id = '', ...others] = new Set(twice.map(({ analysis }) => analysis?.id))
  expect(others).toEqual([])
  const again = await ended(service, id)
  expect(again).toMatchObject({
    state: AnalysisState.COMPLETED,
    rerunOf: analysisId,
    documentId,
    documentVersion: 1,
    documentName: 'contrato.pdf',
    options: { ...before.options, rulePacks: ['core.document'] },
    rulePacks: [{ id: 'core.document' }],
  })
  // Not done again: the steps are those of the first one.
  const kept = ['validate', 'queue', 'extract']
  expect(steps(again, ...kept)).toEqual(steps(before, ...kept))
  expect(steps(again, 'rules')).not.toEqual(steps(before, 'rules'))
  expect(await get(service, analysisId)).toEqual(before)

  const newest = (await rerun([])).analysis
  expect(newest?.options?.rulePacks).toEqual(['core.contract'])
  expect((await ended(service, newest?.id ?? '')).rulePacks).toEqual(before.rulePacks)

  expect(await failure(rerun(['no.such']))).toMatchObject({ reason: 'UNKNOWN_RULE_PACK' })
  const held = await start(service, saga.held().documentId)
  expect(await failure(client.rerunAnalysis({ analysisId: held }))).toMatchObject({
    code: Code.FAILED_PRECONDITION,
    reason: 'ANALYSIS_NOT_ENDED',
  })
})

it('begins anew where the first run is not kept any more', async () => {
  const service = await saga.instance()
  const [done, failed] = [saga.library.put(TEXT), saga.library.put(undefined)]
  const first = await start(service, done)
  await ended(service, first)
  const unreadable = await start(service, failed)
  await ended(service, unreadable)
  await service.db.query('delete from analysis_workflow.runs')
  await service.db.query('delete from analysis_dbos.workflow_status')
  const { analysis } = await service.client.rerunAnalysis({ analysisId: first })
  expect((await ended(service, analysis?.id ?? '')).state).toBe(AnalysisState.COMPLETED)
  expect((await service.client.retryAnalysis({ analysisId: unreadable })).analysis?.state).toBe(
    AnalysisState.QUEUED,
  )
  expect((await ended(service, unreadable)).failure).toMatchObject({ reason: 'DOCUMENT_UNREADABLE' })
})

it('tells how long it will take, once there were others', async () => {
  const service = await saga.instance({ concurrency: 1 })
  const done = await start(service, saga.library.put(TEXT))
  expect((await ended(service, done)).estimatedRemaining).toBeUndefined()
  await service.db.query(
    `update analyses set steps = jsonb_set(steps, '{2,startedAt}', to_jsonb(ended_at - interval '40 s'))`,
  )
  await service.stopWork()
  const later = await saga.instance({ concurrency: 1 })
  const running = await start(later, saga.held().documentId)
  await isRunning(later, running)
  const waiting = await start(later, saga.library.put(TEXT))
  const leftMs = async (id: string) => {
    const { estimatedRemaining } = await get(later, id)
    return estimatedRemaining ? msOf(estimatedRemaining) : 0
  }
  expect(await leftMs(running)).toBeGreaterThan(10_000)
  expect(await leftMs(waiting)).toBeGreaterThan(await leftMs(running))
  const [queued, , progress] = await later.events.history('analysis', running)
  const none = Buffer.alloc(0)
  for (const told of [
    AnalysisQueued.decode(queued?.payload ?? none).estimatedDuration,
    AnalysisProgressUpdated.decode(progress?.payload ?? none).estimatedRemaining,
  ])
    expect(told && msOf(told)).toBeGreaterThan(30_000)
})

it('shows each step as it goes, and no progress that goes back', async () => {
  const service = await saga.instance()
  const { documentId, release } = saga.held()
  const id = await start(service, documentId)
  await isRunning(service, id)
  const seen: Analysis[] = []
  const watching = (async () => {
    for await (const { analysis } of service.client.watchAnalysis({ analysisId: id }))
      if (analysis) seen.push(analysis)
  })()
  await eventually(() => expect(seen.length).toBeGreaterThan(0))
  await service.stopWork()
  await saga.instance()
  release()
  await watching
  const progress = seen.map(({ progressPercent }) => progressPercent)
  expect(progress).toEqual([...progress].sort((a, b) => a - b))
  expect([progress[0], progress.at(-1)]).toEqual([10, 100])
  expect(seen[0]?.steps.map(({ state }) => state).slice(0, 4)).toEqual([
    StepState.COMPLETED,
    StepState.COMPLETED,
    StepState.RUNNING,
    StepState.PENDING,
  ])
})

it('queues an analysis whose run is not kept any more once, though two ask for a retry at the same time', async () => {
  const service = await saga.instance()
  const { client, db } = service
  const analysisId = await start(service, saga.library.put(undefined))
  await ended(service, analysisId)
  await db.query('delete from analysis_workflow.runs')
  await db.query('delete from analysis_dbos.workflow_status')
  const { promise, resolve } = Promise.withResolvers<void>()
  const holding = db.transaction(async (tx) => {
    await tx.query('select 1 from analyses where id = $1 for update', [analysisId])
    await promise
  })
  const retries = [client.retryAnalysis({ analysisId }), client.retryAnalysis({ analysisId })]
  await eventually(async () => {
    const [row] = await db.query(
      "select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    expect(row).toEqual({ waiting: 2 })
  })
  resolve()
  await holding
  await Promise.all(retries)
  await ended(service, analysisId)
  expect((await types(service, analysisId)).filter((type) => type === 'AnalysisQueued')).toHaveLength(2)
})
