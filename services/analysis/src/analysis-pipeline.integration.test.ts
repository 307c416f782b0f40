import { AnalysisState, Severity, StepState } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import type { Queryable } from '@docmesh/postgres'
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

const wanted = {
  documentVersion: 0,
  options: { rulePacks: [], locale: 'en', priority: 'low', aiEnabled: false, notify: false, unmask: false },
  batchId: UNKNOWN,
  tenantId: 'acme',
  requestedBy: 'bia',
} as const

/** The ids of the analyses of a new batch, which hears of their ends. */
async function startBatch({ analyses }: Instance, tx: Queryable, documentIds: readonly string[]) {
  await tx.query(
    `insert into batches (id, tenant_id, requested_by, name, options, parallelism, state, total, started, created_at, closed_at)
     values ($1, 'acme', 'bia', '', $2, 8, 'running', $3, $3, now(), now())`,
    [UNKNOWN, JSON.stringify(wanted.options), documentIds.length],
  )
  const ids: string[] = []
  for (const documentId of documentIds) {
    const { id } = await analyses.startIn(tx, { ...wanted, documentId })
    await tx.query("insert into batch_documents values ($1, $2, $3, $4, 'running')", [
      ...[UNKNOWN, ids.push(id), documentId, id],
    ])
  }
  return ids
}
const countsOf = (on: Queryable) =>
  on.query('select completed, failed, cancelled, ends from batches where id = $1', [UNKNOWN])

it('analyses a document for whoever queued a job, and again with other packs', async () => {
  const service = await saga.instance()
  const { client, jobs } = service
  const documentId = saga.library.put(TEXT)
  const analysed = async (count: number) => {
    const { analyses } = await client.listAnalyses({ documentId, states: [AnalysisState.COMPLETED] })
    expect(analyses).toHaveLength(count)
    return analyses[0]
  }
  await jobs.enqueueJob({ type: 'analysis:start', input: { document_id: documentId } })
  const first = await eventually(() => analysed(1))
  expect(first).toMatchObject({ tenantId: 'acme', requestedBy: 'ana', rerunOf: '' })
  const input = { analysis_id: first?.id, rule_packs: ['core.document'] }
  await jobs.enqueueJob({ type: 'analysis:rerun', input })
  expect(await eventually(() => analysed(2))).toMatchObject({
    rerunOf: first?.id,
    rulePacks: [{ id: 'core.document' }],
  })
})

it('starts with the transaction of its caller, finds the document when it runs, and tells its batch once', async () => {
  const service = await saga.instance()
  const { db } = service
  const documentId = saga.library.put(TEXT)
  const rolledBack = db.transaction(async (tx) => {
    await startBatch(service, tx, [documentId])
    throw new Error('changed my mind')
  })
  await expect(rolledBack).rejects.toThrow('changed my mind')
  const [good = '', bad = ''] = await db.transaction((tx) => startBatch(service, tx, [documentId, UNKNOWN]))
  expect(await ended(service, good)).toMatchObject({
    state: AnalysisState.COMPLETED,
    documentName: 'contrato.pdf',
    documentVersion: 1,
    batchId: UNKNOWN,
    requestedBy: 'bia',
  })
  expect(await ended(service, bad)).toMatchObject({
    state: AnalysisState.FAILED,
    failure: { step: 'validate', reason: 'DOCUMENT_NOT_FOUND', retryable: false },
  })
  const { analyses: ofBatch } = await service.client.listAnalyses({ batchId: UNKNOWN })
  expect(ofBatch.map(({ id }) => id)).toEqual([bad, good])
  expect(await countsOf(db)).toEqual([{ completed: 1, failed: 1, cancelled: 0, ends: 2 }])
})

it('cancels with the transaction of its caller, and its batch hears of the end in it', async () => {
  const service = await saga.instance()
  const { analyses, db } = service
  const [id = ''] = await db.transaction((tx) => startBatch(service, tx, [saga.held().documentId]))
  await isRunning(service, id)
  const cancelled = [{ completed: 0, failed: 0, cancelled: 1, ends: 1 }]
  const rolledBack = db.transaction(async (tx) => {
    expect(await analyses.cancelIn(tx, id, 'by mistake', ACME)).toMatchObject({ state: 'cancelled' })
    expect(await countsOf(tx)).toEqual(cancelled)
    throw new Error('changed my mind')
  })
  await expect(rolledBack).rejects.toThrow('changed my mind')
  expect((await get(service, id)).state).toBe(AnalysisState.RUNNING)
  expect(await countsOf(db)).toMatchObject([{ cancelled: 0, ends: 0 }])
  await db.transaction((tx) => analyses.cancelIn(tx, id, 'no longer needed', ACME))
  expect((await get(service, id)).state).toBe(AnalysisState.CANCELLED)
  expect(await countsOf(db)).toEqual(cancelled)
  await expect(db.transaction((tx) => analyses.cancelIn(tx, UNKNOWN, '', ACME))).rejects.toMatchObject({
    reason: 'ANALYSIS_NOT_FOUND',
  })
})
