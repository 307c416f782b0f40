import { type Analysis, AnalysisOptions, AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { type Batch, BatchState } from '@docmesh/contracts/analysis/v1/batch'
import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import { rpcError } from '@docmesh/rpc'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TEXT } from '../saga.fixture.ts'
import { type Instance, type Library, startInstance, startLibrary } from '../world.fixture.ts'
import { documentIds, partsOf } from './world.fixture.ts'

let database: TestDatabase
let library: Library
let saga: Instance
beforeAll(async () => {
  database = await testDatabase()
  library = await startLibrary()
  saga = await startInstance({ databaseUrl: database.url, documents: library.address, concurrency: 4 })
})
afterAll(async () => {
  await saga[Symbol.asyncDispose]()
  await library.close()
  await database.close()
})

type Header = Parameters<typeof partsOf>[0]

async function create(header: Header, ids: readonly string[]): Promise<string> {
  const { batch } = await saga.batches.createBatch(partsOf(header, ids))
  if (!batch) throw new Error('the answer has no batch')
  return batch.id
}
async function ended(batchId: string): Promise<{ batch: Batch | undefined; analyses: Analysis[] }> {
  const news = await Array.fromAsync(saga.batches.watchBatch({ batchId }))
  return { batch: news.at(-1)?.batch, analyses: news.flatMap((each) => each.ended) }
}
const typesOf = async (kind: string, id: string): Promise<(string | undefined)[]> =>
  (await saga.events.history(kind, id)).map(({ type }) => type.split('.').at(-1))

it('runs the analyses of a batch to a partial success, and says so once', async () => {
  const good = Array.from({ length: 12 }, (_, index) => library.put(TEXT, { name: `${index}.pdf` }))
  const locked = library.put(undefined)
  const [missing = ''] = documentIds(1)
  const options = AnalysisOptions.fromPartial({ notify: true })
  const id = await create({ parallelism: 3, options }, [locked, missing, ...good])
  const { batch } = await ended(id)
  expect(batch).toMatchObject({ state: BatchState.PARTIAL, total: 14, completed: 12, failed: 2 })
  expect(await typesOf('batch', id)).toEqual(['BatchCompleted'])
  const { analyses } = await saga.client.listAnalyses({ batchId: id })
  expect(analyses).toHaveLength(14)
  const failures = analyses.filter(({ state }) => state === AnalysisState.FAILED)
  expect(failures.map(({ documentId, failure }) => [documentId, failure?.reason]).sort()).toEqual(
    [
      [locked, 'DOCUMENT_UNREADABLE'],
      [missing, 'DOCUMENT_NOT_FOUND'],
    ].sort(),
  )
  const scores = analyses.flatMap(({ result }) => result?.score ?? [])
  expect(batch?.meanScore).toBeCloseTo(scores.reduce((sum, score) => sum + score, 0) / 12)
  expect(analyses.every((analysis) => analysis.options?.notify === false)).toBe(true)
})

it('cancels what runs and what waits', async () => {
  const never = new Promise<void>(() => {})
  const held = Array.from({ length: 5 }, () => library.put(TEXT, { ready: () => never }))
  const id = await create({ parallelism: 2 }, held)
  await eventually(async () => {
    const { analyses } = await saga.client.listAnalyses({ batchId: id, states: [AnalysisState.RUNNING] })
    expect(analyses).toHaveLength(2)
  })
  const { batch } = await saga.batches.cancelBatch({ batchId: id })
  expect(batch).toMatchObject({ state: BatchState.CANCELLED, cancelled: 5, endedAt: expect.any(Date) })
  const { analyses } = await saga.client.listAnalyses({ batchId: id })
  expect(analyses.map(({ state }) => state)).toEqual([AnalysisState.CANCELLED, AnalysisState.CANCELLED])
  expect(await typesOf('batch', id)).toEqual(['BatchCompleted'])
})

it('counts a retried analysis by how it ends then', async () => {
  let mended = false
  const flaky = library.put(TEXT, {
    async ready() {
      if (!mended) throw rpcError('DOCUMENT_UNREADABLE', 'The file is damaged.')
    },
  })
  const id = await create({}, [flaky])
  expect((await ended(id)).batch).toMatchObject({ state: BatchState.FAILED, failed: 1 })
  mended = true
  const { analyses } = await saga.client.listAnalyses({ batchId: id })
  await saga.client.retryAnalysis({ analysisId: analyses[0]?.id ?? '' })
  await eventually(async () => {
    const { batch } = await saga.batches.getBatch({ batchId: id })
    expect(batch).toMatchObject({ state: BatchState.COMPLETED, completed: 1, failed: 0 })
  })
  expect(await typesOf('batch', id)).toEqual(['BatchCompleted'])
})

it('cancels what was retried and has not ended again', async () => {
  let damaged = true
  const never = new Promise<void>(() => {})
  const flaky = library.put(TEXT, {
    async ready() {
      if (damaged) throw rpcError('DOCUMENT_UNREADABLE', 'The file is damaged.')
      await never
    },
  })
  const id = await create({}, [flaky, library.put(TEXT, { ready: () => never })])
  await eventually(async () => {
    const { batch } = await saga.batches.getBatch({ batchId: id })
    expect(batch).toMatchObject({ state: BatchState.RUNNING, failed: 1 })
  })
  damaged = false
  const { analyses: failed } = await saga.client.listAnalyses({
    batchId: id,
    states: [AnalysisState.FAILED],
  })
  await saga.client.retryAnalysis({ analysisId: failed[0]?.id ?? '' })
  const { batch } = await saga.batches.cancelBatch({ batchId: id })
  expect(batch).toMatchObject({ state: BatchState.CANCELLED, failed: 0, cancelled: 2 })
  const { analyses } = await saga.client.listAnalyses({ batchId: id })
  expect(analyses.map(({ state }) => state)).toEqual([AnalysisState.CANCELLED, AnalysisState.CANCELLED])
})

it('goes on without a document that is erased while it is analysed', async () => {
  const never = new Promise<void>(() => {})
  const held = library.put(TEXT, { ready: () => never })
  const id = await create({ parallelism: 1 }, [held, library.put(TEXT)])
  await eventually(async () => {
    const { analyses } = await saga.client.listAnalyses({ batchId: id, states: [AnalysisState.RUNNING] })
    expect(analyses).toHaveLength(1)
  })
  await saga.db.transaction((tx) =>
    saga.events.publish(tx, DocumentErased, DocumentErased.fromPartial({ documentId: held }), {
      aggregateType: 'document',
      aggregateId: held,
    }),
  )
  const { batch, analyses } = await ended(id)
  expect(batch).toMatchObject({ state: BatchState.PARTIAL, completed: 1, cancelled: 1 })
  expect(analyses.map(({ documentId }) => documentId)).not.toContain(held)
})

it('runs more documents than places, each once', async () => {
  const ids = Array.from({ length: 40 }, () => library.put(TEXT))
  const id = await create({ parallelism: 6 }, ids)
  const { batch, analyses } = await ended(id)
  expect(batch).toMatchObject({ state: BatchState.COMPLETED, completed: 40 })
  const seen = analyses.map(({ documentId }) => documentId)
  expect(new Set(seen).size).toBe(seen.length)
  const listed = await saga.client.listAnalyses({ batchId: id, pageSize: 1_000 })
  expect(listed.analyses.map(({ documentId }) => documentId).sort()).toEqual(ids.sort())
}, 90_000)
