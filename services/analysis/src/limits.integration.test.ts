import {
  Analysis,
  AnalysisState,
  ListFindingsResponse,
  ReportFormat,
} from '@docmesh/contracts/analysis/v1/analysis'
import { Code } from '@docmesh/rpc'
import { type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { documentPart, headerPart, streamOf } from './batch/world.fixture.ts'
import { ended, openSaga, type Saga, start, TEXT } from './saga.fixture.ts'
import { failure, type Instance } from './world.fixture.ts'

/** What gRPC clients take in one message unless they are told otherwise. */
const MESSAGE_BYTES = 4 * 1024 * 1024

let database: TestDatabase
let saga: Saga
let service: Instance
beforeAll(async () => {
  database = await testDatabase()
  saga = await openSaga(database)
  service = await saga.instance()
})
afterAll(() => saga[Symbol.asyncDispose]())

const done = async (text: string): Promise<string> => {
  const id = await start(service, saga.library.put(text))
  expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
  return id
}

describe('what a database or an event cannot hold', () => {
  it.each([
    ['U+0000', 'a\0'],
    ['very much', 'x'.repeat(3_000_000)],
  ])('is refused: %s', async (_, text) => {
    const { client } = service
    const documentId = saga.library.put(TEXT)
    const analysisId = await start(service, saga.held().documentId)
    const requestId = text
    const calls: [string, () => Promise<unknown>][] = [
      ['request_id', () => client.startAnalysis({ documentId, requestId })],
      ['request_id', () => client.pauseAnalysis({ analysisId, requestId })],
      ['request_id', () => client.resumeAnalysis({ analysisId, requestId })],
      ['request_id', () => client.retryAnalysis({ analysisId, requestId })],
      ['request_id', () => client.rerunAnalysis({ analysisId, requestId })],
      ['reason', () => client.cancelAnalysis({ analysisId, reason: text })],
    ]
    for (const [field, call] of calls)
      expect(await failure(call())).toMatchObject({
        code: Code.INVALID_ARGUMENT,
        options: { fields: [{ field }] },
      })
    expect((await client.listAnalyses({ documentId })).analyses).toEqual([])
    await client.cancelAnalysis({ analysisId })
  })

  it('is refused in the name of a rule pack too', async () => {
    for (const more of ['@', '@\0', `@${'x'.repeat(1_000_000)}`]) {
      const options = { rulePacks: [`core.contract@1.0.0${more}`] }
      const call = service.client.startAnalysis({ documentId: saga.library.put(TEXT), options })
      expect(await failure(call)).toMatchObject({ reason: 'UNKNOWN_RULE_PACK' })
    }
  })
})

it('refuses very long lists of states', async () => {
  const states = Array(4_000_000).fill(1)
  const { client, jobs } = service
  for (const call of [() => client.listAnalyses({ states }), () => jobs.listJobs({ states })])
    expect(await failure(call())).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'states' }] },
    })
})

it('answers an error that would repeat very much without breaking the connection of other calls', async () => {
  const { client, batches, jobs } = service
  const other = client.startAnalysis({ documentId: saga.held().documentId })
  const analysisId = (await other).analysis?.id ?? ''
  const watch = client.watchAnalysis({ analysisId })[Symbol.asyncIterator]()
  await watch.next()
  const huge = 'é'.repeat(500_000)
  const input = { document_id: huge, rule_packs: Array(20_000).fill(1), [huge.slice(0, 10_000)]: 1 }
  const answers: [Code, () => Promise<unknown>][] = [
    [Code.NOT_FOUND, () => client.getAnalysis({ analysisId: huge })],
    [Code.NOT_FOUND, () => client.startAnalysis({ documentId: huge })],
    [Code.INVALID_ARGUMENT, () => client.startAnalysis({ documentId: huge, options: { rulePacks: [huge] } })],
    [Code.INVALID_ARGUMENT, () => service.rulePacks.getRulePack({ name: huge })],
    [Code.NOT_FOUND, () => batches.getBatch({ batchId: huge })],
    [Code.INVALID_ARGUMENT, () => batches.createBatch(streamOf([headerPart(), documentPart(huge)]))],
    [Code.NOT_FOUND, () => jobs.getJob({ jobId: huge })],
    [Code.INVALID_ARGUMENT, () => jobs.enqueueJob({ type: huge })],
    [Code.INVALID_ARGUMENT, () => jobs.enqueueJob({ type: 'analysis:start', input: {}, cron: huge })],
    [Code.INVALID_ARGUMENT, () => jobs.enqueueJob({ type: 'analysis:start', input })],
  ]
  for (const [code, call] of answers) expect(await failure(call())).toMatchObject({ code })
  const next = watch.next()
  await client.cancelAnalysis({ analysisId })
  expect((await next).value.analysis.id).toBe(analysisId)
})

it('completes where a quote has to be cut in the middle of a long word of characters beyond the first plane', async () => {
  const words = `a${'\u{1f600}'.repeat(200)}`
  const id = await done(
    `# Contrato\n\n## ${words}\n\n## B\n\nO prazo de vigência é de 12 (quatorze) meses.\n`,
  )
  const { findings } = await service.client.listFindings({ analysisId: id })
  const quotes = findings.flatMap(({ evidence }) => evidence.map(({ quote }) => quote))
  expect(quotes).toContain(`a${'\u{1f600}'.repeat(119)}`)
})

it('says in a message no more of the document than in a quote', async () => {
  const id = await done(`# Contrato\n\n## ${'palavra '.repeat(500_000)}\n\n## B\n\nO prazo é de 12 meses.\n`)
  const { findings } = await service.client.listFindings({ analysisId: id })
  expect(findings.filter(({ message }) => message.includes('palavra palavra'))).not.toEqual([])
  expect(Math.max(...findings.map(({ message }) => message.length))).toBeLessThan(1_000)
})

describe('a page', () => {
  it('of findings is one that a client takes, and nothing is lost between pages', async () => {
    const id = await done(TEXT)
    await service.db.query(
      `update analyses set findings = (select jsonb_agg(findings->0 || jsonb_build_object('message', repeat('é', 5000) || n))
         from generate_series(1, 1000) as n) where id = $1`,
      [id],
    )
    const messages: string[] = []
    let pageToken = ''
    do {
      const page = await service.client.listFindings({ analysisId: id, pageSize: 1_000, pageToken })
      expect(ListFindingsResponse.encode(page).finish().length).toBeLessThan(MESSAGE_BYTES)
      messages.push(...page.findings.map(({ message }) => message.replaceAll('é', '')))
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(messages).toEqual(Array.from({ length: 1_000 }, (_, index) => String(index + 1)))
  })

  it('of analyses is one that a client takes', async () => {
    const as = service.clientAs('lister')
    const documentId = saga.library.put(TEXT, { tenantId: 'lister' })
    const made: string[] = []
    for (let count = 0; count < 6; count++)
      made.unshift((await as.startAnalysis({ documentId })).analysis?.id ?? '')
    for (const id of made) await ended({ client: as }, id)
    await service.db.query(
      "update analyses set failure = jsonb_build_object('message', repeat('é', 500000)) where tenant_id = 'lister'",
    )
    const listed: string[] = []
    let pageToken = ''
    do {
      const page = await as.listAnalyses({ pageToken })
      const bytes = page.analyses.map((analysis) => Analysis.encode(analysis).finish().length)
      expect(bytes.reduce((sum, each) => sum + each, 0)).toBeLessThan(MESSAGE_BYTES)
      listed.push(...page.analyses.map(({ id }) => id))
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(listed).toEqual(made)
  })

  it('of jobs is one that a client takes', async () => {
    const note = '€'.repeat(60_000)
    const made: string[] = []
    for (let count = 0; count < 30; count++) {
      const { job } = await service.jobs.enqueueJob({
        type: 'analysis:rerun',
        input: { analysis_id: '0190a000-0000-7000-8000-000000000000' },
        delay: { seconds: 3_600n, nanos: 0 },
      })
      made.unshift(job?.id ?? '')
    }
    await service.db.query(
      'update analysis_workflow.runs set input = jsonb_build_object($1::text, $2::text) where max_attempts > 0',
      ['note', note],
    )
    const listed: string[] = []
    let pageToken = ''
    do {
      const page = await service.jobs.listJobs({ pageToken })
      expect(Buffer.byteLength(JSON.stringify(page.jobs.map(({ input }) => input)))).toBeLessThan(
        MESSAGE_BYTES,
      )
      listed.push(...page.jobs.map(({ id }) => id))
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(listed).toEqual(made)
  })
})

it('writes reports that do not show the text without asking for it', async () => {
  const id = await done(TEXT)
  const report = async (format: ReportFormat) => {
    const parts = await Array.fromAsync(service.client.getReport({ analysisId: id, format }))
    return Buffer.concat(
      parts.map(({ part }) => (part?.$case === 'chunk' ? part.value : Buffer.alloc(0))),
    ).toString()
  }
  const formats = [ReportFormat.JSON, ReportFormat.SARIF, ReportFormat.MARKDOWN]
  const before = await Promise.all(formats.map(report))
  await saga.library.close()
  expect(await Promise.all(formats.map(report))).toEqual(before)
  expect((await failure(report(ReportFormat.HTML))).reason).toBe('DEPENDENCY_UNAVAILABLE')
  await saga.library.reopen()
})
