import { AnalysisState, Severity, StepState } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import { eventually, testDatabase } from '@docmesh/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ended, get, isRunning, openSaga, type Saga, start, TEXT, types } from './saga.fixture.ts'
import type { Instance } from './world.fixture.ts'

let saga: Saga
beforeEach(async () => {
  saga = await openSaga(await testDatabase())
})
afterEach(() => saga[Symbol.asyncDispose]())

const ACME = { userId: 'ana', tenantId: 'acme', requestId: 'of-a-test' }
const UNKNOWN = '0190a000-0000-7000-8000-000000000000'

/** The database refuses the outcome of every analysis, with this error, until it is told to take it again. */
async function refuseOutcome({ db }: Instance, sqlState: string): Promise<() => Promise<unknown>> {
  await db.query(`create function refuse() returns trigger language plpgsql as $$
    begin raise exception 'no room for %', new.document_name using errcode = '${sqlState}'; end $$`)
  await db.query(`create trigger refuse before update on analyses for each row
    when (new.outcome is not null and old.outcome is null) execute function refuse()`)
  return () => db.query('drop trigger refuse on analyses')
}

/** What a failed or cancelled analysis must not keep. */
const keeps = async ({ db }: Instance, id: string) => {
  const [row] = await db.query('select draft, outcome, findings, rule_packs from analyses where id = $1', [
    id,
  ])
  return row
}
const NOTHING = { draft: null, outcome: null, findings: null, rule_packs: [] }

it('waits for a document service that is away, and completes when it is back', async () => {
  const service = await saga.instance({ concurrency: 0 })
  const id = await start(service, saga.library.put(TEXT))
  await saga.library.close()
  await saga.instance({ retryMs: 500 })
  await isRunning(service, id)
  await saga.library.reopen()
  expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
})

it('fails when the document service stays away, and completes when it is asked again later', async () => {
  const service = await saga.instance({ concurrency: 0 })
  const id = await start(service, saga.library.put(TEXT))
  await saga.library.close()
  const worker = await saga.instance()
  const failed = await ended(worker, id)
  expect(failed).toMatchObject({
    state: AnalysisState.FAILED,
    failure: { step: 'extract', reason: 'DEPENDENCY_UNAVAILABLE', retryable: true },
  })
  expect(failed.steps[2]).toMatchObject({ state: StepState.FAILED, attempts: 8 })
  const event = (await worker.events.history('analysis', id)).at(-1)
  expect(AnalysisFailed.decode(event?.payload ?? Buffer.alloc(0))).toMatchObject({
    failure: failed.failure,
    attempts: 8,
  })
  await saga.library.reopen()
  const { analysis } = await worker.client.retryAnalysis({ analysisId: id })
  expect(analysis).toMatchObject({ state: AnalysisState.QUEUED, failure: undefined, progressPercent: 0 })
  expect(await ended(worker, id)).toMatchObject({ state: AnalysisState.COMPLETED, failure: undefined })
  expect((await types(worker, id)).filter((type) => type === 'AnalysisStarted')).toHaveLength(2)
})

it('takes the draft back when a step after the rules fails, tells nobody why the database refused, and makes it anew', async () => {
  const service = await saga.instance()
  const takeAgain = await refuseOutcome(service, 'P0001')
  const id = await start(service, saga.library.put(TEXT, { name: 'CPF de Maria.md' }))
  const failed = await ended(service, id)
  expect(failed).toMatchObject({
    state: AnalysisState.FAILED,
    rulePacks: [],
    result: undefined,
    failure: { step: 'consolidate', reason: 'INTERNAL', retryable: true },
  })
  expect(failed.steps.map(({ state }) => state)).toEqual([
    StepState.COMPLETED,
    StepState.COMPLETED,
    StepState.COMPLETED,
    StepState.COMPENSATED,
    StepState.SKIPPED,
    StepState.FAILED,
    StepState.PENDING,
    StepState.PENDING,
  ])
  expect(await keeps(service, id)).toEqual(NOTHING)
  const run = await service.workflows.get(id)
  expect(JSON.stringify({ run, outputs: await service.workflows.outputs(id) })).not.toContain('Maria')

  await takeAgain()
  await service.client.retryAnalysis({ analysisId: id })
  const done = await ended(service, id)
  expect(done).toMatchObject({ state: AnalysisState.COMPLETED, rulePacks: [{ id: 'core.contract' }] })
  expect(done.steps.slice(0, 3)).toEqual(failed.steps.slice(0, 3))
  const { findings } = await service.client.listFindings({ analysisId: id, minimumSeverity: Severity.HIGH })
  expect(await types(service, id)).toEqual([
    'AnalysisQueued',
    'AnalysisStarted',
    'AnalysisProgressUpdated',
    'AnalysisProgressUpdated',
    'AnalysisFailed',
    'AnalysisQueued',
    'AnalysisStarted',
    'AnalysisProgressUpdated',
    ...findings.map(() => 'ProblemDetected'),
    'AnalysisCompleted',
  ])
  expect(await keeps(service, id)).toMatchObject({ draft: null })
})

it('takes the draft of a cancelled analysis back', async () => {
  const service = await saga.instance({ retryMs: 60_000 })
  await refuseOutcome(service, '57P03') // cannot connect now: it will be tried again
  const id = await start(service, saga.library.put(TEXT))
  await eventually(async () => expect(await keeps(service, id)).toMatchObject({ draft: { verdict: 'fail' } }))
  const { analysis } = await service.client.cancelAnalysis({ analysisId: id })
  expect(analysis?.state).toBe(AnalysisState.CANCELLED)
  await eventually(async () => {
    expect(await keeps(service, id)).toEqual(NOTHING)
    expect((await get(service, id)).steps[3]).toMatchObject({ name: 'rules', state: StepState.COMPENSATED })
  })
  expect(await get(service, id)).toMatchObject({ state: AnalysisState.CANCELLED, failure: undefined })
  expect((await types(service, id)).slice(2)).toEqual([
    'AnalysisProgressUpdated',
    'AnalysisProgressUpdated',
    'AnalysisCancelled',
  ])
})

it('refuses a text that is not the one that the analysis began with', async () => {
  const service = await saga.instance({ concurrency: 0 })
  const documentId = saga.library.put(TEXT)
  const id = await start(service, documentId)
  await service.db.query("update analyses set text_sha256 = 'another' where id = $1", [id])
  await saga.instance()
  expect(await ended(service, id)).toMatchObject({ failure: { step: 'extract', reason: 'INTERNAL' } })
})

it('gives its work back at once when it stops in order, and starts it once', async () => {
  const first = await saga.instance()
  const { documentId, release } = saga.held()
  const id = await start(first, documentId)
  await isRunning(first, id)
  await first.stopWork()
  const second = await saga.instance()
  release()
  expect((await ended(second, id)).state).toBe(AnalysisState.COMPLETED)
  expect((await types(second, id)).slice(0, 4)).toEqual([
    'AnalysisQueued',
    'AnalysisStarted',
    'AnalysisProgressUpdated',
    'AnalysisProgressUpdated',
  ])
})

it('fails an analysis that every instance was lost over, and goes on with it when it is retried', async () => {
  const service = await saga.instance({ maxRecoveryAttempts: 2 })
  const { documentId, release } = saga.held()
  const id = await start(service, documentId)
  for (let lost = 1; lost <= 2; lost++) {
    await eventually(async () => expect(await service.workflows.get(id)).toMatchObject({ begun: lost }))
    await isRunning(service, id)
    // What the others do to an instance that they hold for dead.
    await service.db.query(
      "update analysis_dbos.workflow_status set status = 'ENQUEUED', owner_xid = null where executor_id = $1 and status = 'PENDING'",
      [service.workflows.node],
    )
  }
  const failed = await ended(service, id)
  expect(failed).toMatchObject({
    state: AnalysisState.FAILED,
    failure: { step: 'extract', reason: 'TOO_MANY_RECOVERIES', retryable: true },
  })
  release()
  await service.client.retryAnalysis({ analysisId: id })
  expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
})

it('starts with the transaction of its caller, and finds the document when it runs', async () => {
  const service = await saga.instance()
  const { analyses, db } = service
  const wanted = {
    documentVersion: 0,
    options: { rulePacks: [], locale: 'en', priority: 'low', aiEnabled: false, notify: false, unmask: false },
    batchId: UNKNOWN,
    tenantId: 'acme',
    requestedBy: 'bia',
  } as const
  const documentId = saga.library.put(TEXT)
  const rolledBack = db.transaction(async (tx) => {
    await analyses.startIn(tx, { ...wanted, documentId })
    throw new Error('changed my mind')
  })
  await expect(rolledBack).rejects.toThrow('changed my mind')
  const [good, bad] = await db.transaction(async (tx) => [
    await analyses.startIn(tx, { ...wanted, documentId }),
    await analyses.startIn(tx, { ...wanted, documentId: UNKNOWN }),
  ])
  expect(await ended(service, good?.id ?? '')).toMatchObject({
    state: AnalysisState.COMPLETED,
    documentName: 'contrato.pdf',
    documentVersion: 1,
    batchId: UNKNOWN,
    requestedBy: 'bia',
  })
  expect(await ended(service, bad?.id ?? '')).toMatchObject({
    state: AnalysisState.FAILED,
    failure: { step: 'validate', reason: 'DOCUMENT_NOT_FOUND', retryable: false },
  })
  const { analyses: ofBatch } = await service.client.listAnalyses({ batchId: UNKNOWN })
  expect(ofBatch.map(({ id }) => id)).toEqual([bad?.id, good?.id])
  expect(service.ends.map(({ id, state }) => [id, state]).sort()).toEqual(
    [
      [good?.id, 'completed'],
      [bad?.id, 'failed'],
    ].sort(),
  )
})

it('cancels with the transaction of its caller, who hears of the end in it', async () => {
  const service = await saga.instance()
  const { analyses, db, ends } = service
  const { documentId } = saga.held()
  const id = await start(service, documentId)
  await isRunning(service, id)
  const rolledBack = db.transaction(async (tx) => {
    expect(await analyses.cancelIn(tx, id, 'by mistake', ACME)).toMatchObject({ state: 'cancelled' })
    throw new Error('changed my mind')
  })
  await expect(rolledBack).rejects.toThrow('changed my mind')
  expect((await get(service, id)).state).toBe(AnalysisState.RUNNING)
  await db.transaction((tx) => analyses.cancelIn(tx, id, 'no longer needed', ACME))
  expect((await get(service, id)).state).toBe(AnalysisState.CANCELLED)
  expect(ends.map((each) => [each.id, each.state])).toEqual([
    [id, 'cancelled'],
    [id, 'cancelled'],
  ])
  await expect(db.transaction((tx) => analyses.cancelIn(tx, UNKNOWN, '', ACME))).rejects.toMatchObject({
    reason: 'ANALYSIS_NOT_FOUND',
  })
})
