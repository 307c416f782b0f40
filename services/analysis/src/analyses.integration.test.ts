import {
  type Analysis,
  AnalysisState,
  GetAnalysisResponse,
  ListFindingsResponse,
  Priority,
  ReportFormat,
  Severity,
  StepState,
  Verdict,
} from '@docmesh/contracts/analysis/v1/analysis'
import {
  AnalysisCompleted,
  AnalysisFailed,
  AnalysisProgressUpdated,
  AnalysisQueued,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import { Code } from '@docmesh/rpc'
import { eventually, type TestDatabase, tcpProxy, testDatabase } from '@docmesh/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type AnalysisClient,
  failure,
  type Instance,
  type Library,
  startInstance,
  startLibrary,
} from './world.fixture.ts'

const CONTRACT = `# CONTRATO DE PRESTAÇÃO DE SERVIÇOS

ALFA LTDA., CNPJ 12.345.678/0001-99, com sede em [PREENCHER], e MARIA DA SILVA, CPF 529.982.247-25, e-mail
maria.silva@example.com, celebram este contrato.

## DO PRAZO

O prazo de vigência é de 12 (quatorze) meses, com vencimento em 31/02/2026.
`
const TEXTUAL = [ReportFormat.JSON, ReportFormat.SARIF, ReportFormat.HTML, ReportFormat.MARKDOWN]
const UNKNOWN = '0190a000-0000-7000-8000-000000000000'

let database: TestDatabase
let library: Library
let service: Instance
let client: AnalysisClient
beforeAll(async () => {
  database = await testDatabase()
  library = await startLibrary()
  service = await startInstance({ databaseUrl: database.url, documents: library.address })
  client = service.client
})
afterAll(async () => {
  await service[Symbol.asyncDispose]()
  await library.close()
  await database.close()
})

type StartOptions = NonNullable<Parameters<AnalysisClient['startAnalysis']>[0]['options']>

async function start(documentId: string, options: StartOptions = {}, as = client): Promise<Analysis> {
  const { analysis } = await as.startAnalysis({ documentId, options })
  if (!analysis) throw new Error('the answer has no analysis')
  return analysis
}

async function states(id: string, as = client): Promise<Analysis[]> {
  const seen = await Array.fromAsync(as.watchAnalysis({ analysisId: id }))
  return seen.flatMap(({ analysis }) => (analysis ? [analysis] : []))
}

async function ended(id: string, as = client): Promise<Analysis> {
  const last = (await states(id, as)).at(-1)
  if (!last) throw new Error('the watch showed nothing')
  return last
}

const history = async (id: string) =>
  (await service.events.history('analysis', id)).map((event) => ({
    ...event,
    type: event.type.split('.').at(-1),
  }))

async function report(
  id: string,
  format: ReportFormat,
): Promise<{ mediaType: string; fileName: string; text: string }> {
  const parts = await Array.fromAsync(client.getReport({ analysisId: id, format }))
  const [head, ...chunks] = parts.map(({ part }) => part)
  if (head?.$case !== 'metadata') throw new Error('metadata come first')
  const content = Buffer.concat(
    chunks.map((part) => (part?.$case === 'chunk' ? part.value : Buffer.alloc(0))),
  )
  expect(head.value.sizeBytes).toBe(BigInt(content.length))
  return { ...head.value, text: content.toString() }
}

it('completes with score, ledger, coverage and findings, and says so in order', async () => {
  const documentId = library.put(CONTRACT)
  const started = await start(documentId, { locale: 'pt-BR', notify: true })
  expect(started).toMatchObject({
    documentId,
    documentVersion: 1,
    documentName: 'contrato.pdf',
    tenantId: 'acme',
    requestedBy: 'ana',
    state: AnalysisState.QUEUED,
    progressPercent: 0,
    queuePosition: 1,
  })
  const seen = await states(started.id)
  const progress = seen.map(({ progressPercent }) => progressPercent)
  expect(progress).toEqual([...progress].sort((a, b) => a - b))
  const last = seen.at(-1)
  expect(last).toMatchObject({
    state: AnalysisState.COMPLETED,
    progressPercent: 100,
    queuePosition: 0,
    failure: undefined,
    rulePacks: [{ id: 'core.contract', version: '1.0.0' }],
    result: { verdict: Verdict.FAIL, coverage: { pagesRead: 1, pagesTotal: 1 } },
  })
  expect(last?.steps.map(({ name, state }) => [name, state])).toEqual([
    ['validate', StepState.COMPLETED],
    ['queue', StepState.COMPLETED],
    ['extract', StepState.COMPLETED],
    ['rules', StepState.COMPLETED],
    ['ai', StepState.SKIPPED],
    ['consolidate', StepState.COMPLETED],
    ['quality-check', StepState.COMPLETED],
    ['notify', StepState.COMPLETED],
  ])
  const { findings } = await client.listFindings({ analysisId: started.id })
  const ofSeverity = (wanted: Severity) => findings.filter(({ severity }) => severity === wanted).length
  const { ledger = [], score, counts } = last?.result ?? {}
  expect(counts).toEqual({
    critical: ofSeverity(Severity.CRITICAL),
    high: ofSeverity(Severity.HIGH),
    medium: ofSeverity(Severity.MEDIUM),
    low: ofSeverity(Severity.LOW),
    suppressed: 0,
  })
  expect(score).toBe(Math.max(0, 100 - ledger.reduce((sum, { points }) => sum + points, 0)))
  expect(findings.map(({ ruleId }) => ruleId)).toEqual(
    expect.arrayContaining(['CON-019', 'DOC-002', 'DOC-013']),
  )
  expect(findings.find(({ ruleId }) => ruleId === 'DOC-011')?.evidence[0]?.quote).toBe('31/02/2026')

  const events = await history(started.id)
  const grave = ofSeverity(Severity.CRITICAL) + ofSeverity(Severity.HIGH)
  expect(grave).toBeGreaterThan(1)
  expect(events.map(({ type }) => type)).toEqual([
    'AnalysisQueued',
    'AnalysisStarted',
    'AnalysisProgressUpdated',
    'AnalysisProgressUpdated',
    ...Array(grave).fill('ProblemDetected'),
    'AnalysisCompleted',
  ])
  expect(events.every(({ tenantId, userId }) => tenantId === 'acme' && userId === 'ana')).toBe(true)
  const payloads = events.map(({ payload }) => payload)
  expect(AnalysisQueued.decode(payloads[0] ?? Buffer.alloc(0))).toMatchObject({
    analysisId: started.id,
    priority: Priority.NORMAL,
    queuePosition: 1,
  })
  const steps = payloads.slice(2, 4).map((payload) => AnalysisProgressUpdated.decode(payload))
  expect(steps.map(({ currentStep }) => currentStep)).toEqual(['extract', 'rules'])
  const problem = ProblemDetected.decode(payloads[4] ?? Buffer.alloc(0))
  expect(findings.find(({ id }) => id === problem.findingId)).toMatchObject({
    ruleId: problem.ruleId,
    severity: problem.severity,
  })
  expect(AnalysisCompleted.decode(payloads.at(-1) ?? Buffer.alloc(0))).toMatchObject({
    documentName: 'contrato.pdf',
    score,
    counts,
    requestedBy: 'ana',
    notify: true,
    locale: 'pt-BR',
  })
})

it('answers a repeated request id with the same analysis, also when both come at once', async () => {
  const documentId = library.put(CONTRACT)
  const ask = (as = client) => as.startAnalysis({ documentId, requestId: 'again' })
  const both = await Promise.all([ask(), ask(), ask()])
  const ids = new Set([...both, await ask()].map(({ analysis }) => analysis?.id))
  expect(ids.size).toBe(1)
  const [id = ''] = ids
  await ended(id ?? '')
  const queued = (await history(id ?? '')).filter(({ type }) => type === 'AnalysisQueued')
  expect(queued).toHaveLength(1)
  const elsewhere = library.put(CONTRACT, { tenantId: 'rival' })
  const { analysis } = await service
    .clientAs('rival')
    .startAnalysis({ documentId: elsewhere, requestId: 'again' })
  expect(ids.has(analysis?.id)).toBe(false)
})

it('takes more starts at once than it has connections', async () => {
  await using narrow = await startInstance({
    databaseUrl: database.url,
    documents: library.address,
    workflows: service.workflows,
    poolMax: 2,
  })
  const documentId = library.put(CONTRACT)
  const analyses = await Promise.all(Array.from({ length: 12 }, () => start(documentId, {}, narrow.client)))
  await Promise.all(analyses.map(({ id }) => ended(id)))
})

it('refuses a document, pack or version that is not there, and says which', async () => {
  const documentId = library.put(CONTRACT)
  for (const id of [UNKNOWN, 'no id', library.put(CONTRACT, { tenantId: 'rival' })])
    expect(await failure(start(id))).toMatchObject({
      code: Code.NOT_FOUND,
      reason: 'DOCUMENT_NOT_FOUND',
      options: { resource: { type: 'document', name: id } },
    })
  for (const pack of ['no.such', 'core.contract@9.9.9']) {
    const error = await failure(start(documentId, { rulePacks: [pack] }))
    expect(error).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      reason: 'UNKNOWN_RULE_PACK',
      options: { resource: { type: 'rule pack', name: pack }, fields: [{ field: 'options.rule_packs' }] },
    })
    expect(error.message).toContain('core.document@')
  }
  for (const documentVersion of [-1, 2])
    expect(await failure(client.startAnalysis({ documentId, documentVersion }))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'document_version' }] },
    })
  expect((await client.listAnalyses({ documentId })).analyses).toEqual([])
})

it('fails without a score when the document cannot be read, and does not try again by itself', async () => {
  const asked = library.asked()
  const { id } = await start(library.put(undefined))
  const analysis = await ended(id)
  expect(analysis).toMatchObject({
    state: AnalysisState.FAILED,
    result: undefined,
    failure: {
      step: 'extract',
      reason: 'DOCUMENT_UNREADABLE',
      message: 'The file is protected by a password.',
      retryable: false,
    },
  })
  expect(library.asked()).toBe(asked + 1)
  expect(analysis.steps.find(({ name }) => name === 'extract')?.state).toBe(StepState.FAILED)
  const events = await history(id)
  expect(events.map(({ type }) => type)).toEqual([
    'AnalysisQueued',
    'AnalysisStarted',
    'AnalysisProgressUpdated',
    'AnalysisFailed',
  ])
  expect(AnalysisFailed.decode(events.at(-1)?.payload ?? Buffer.alloc(0)).failure).toEqual(analysis.failure)
  const refused = [client.listFindings({ analysisId: id }), report(id, ReportFormat.JSON)].map(failure)
  for (const error of await Promise.all(refused))
    expect(error).toMatchObject({
      code: Code.FAILED_PRECONDITION,
      reason: 'ANALYSIS_NOT_COMPLETED',
      options: { metadata: { state: 'failed' } },
    })
})

describe('findings and reports', () => {
  const PERSONAL = ['529.982.247-25', 'maria.silva@example.com']
  const finished = async (unmaskPersonalData: boolean) => {
    const { id } = await start(library.put(CONTRACT), { unmaskPersonalData })
    await ended(id)
    return id
  }

  it('come page by page, worst first, from the severity that is asked for', async () => {
    const id = await finished(false)
    const { findings: all } = await client.listFindings({ analysisId: id })
    const severities = all.map(({ severity }) => severity)
    expect(severities).toEqual([...severities].sort((a, b) => b - a))
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: all.length + 1 }),
        fc.constantFrom(Severity.UNSPECIFIED, Severity.LOW, Severity.HIGH, Severity.CRITICAL),
        async (pageSize, minimumSeverity) => {
          const found = []
          let pageToken = ''
          do {
            const page = await client.listFindings({ analysisId: id, pageSize, pageToken, minimumSeverity })
            expect(page.findings.length).toBeLessThanOrEqual(pageSize)
            found.push(...page.findings)
            pageToken = page.nextPageToken
          } while (pageToken)
          expect(found).toEqual(all.filter(({ severity }) => severity >= minimumSeverity))
        },
      ),
      { numRuns: 15 },
    )
    const pageToken = Buffer.from('x').toString('base64url')
    expect((await failure(client.listFindings({ analysisId: id, pageToken }))).reason).toBe(
      'INVALID_PAGE_TOKEN',
    )
  })

  it('have personal data masked unless the analysis was asked to leave them', async () => {
    const shown = async (id: string) => {
      const { findings } = await client.listFindings({ analysisId: id, pageSize: 1_000 })
      const reports = await Promise.all(TEXTUAL.map((format) => report(id, format)))
      return [JSON.stringify(findings), ...reports.map(({ text }) => text)]
    }
    for (const text of await shown(await finished(false)))
      for (const personal of PERSONAL) expect(text).not.toContain(personal)
    const open = (await shown(await finished(true))).join()
    for (const personal of PERSONAL) expect(open).toContain(personal)
  })

  it('have personal data masked also where a quote is cut', async () => {
    const words =
      'The supplier shall keep the records of the card that was used for this order and shall not give them to anybody else. '
    const portuguese =
      'A contratada manterá sigilo sobre os dados que receber e os devolverá ao fim do contrato. '
    const passage = `${words.repeat(2).slice(0, 222)}card 4111 1111 1111 1111 is the one that was used for the order.`
    const { id } = await start(library.put(`# Contrato\n\n${portuguese.repeat(9)}\n\n${passage}\n`), {
      rulePacks: ['core.document'],
    })
    await ended(id)
    const { findings } = await client.listFindings({ analysisId: id })
    const quotes = findings.flatMap(({ evidence }) => evidence.map(({ quote }) => quote))
    const cut = quotes.find((quote) => quote.startsWith('The supplier'))
    expect(cut).toMatch(/card \*{4}/)
    expect(quotes.join()).not.toContain('4111')
  })

  it('come as JSON, SARIF, HTML and Markdown', async () => {
    const id = await finished(false)
    const { analysis } = await client.getAnalysis({ analysisId: id })
    const { findings } = await client.listFindings({ analysisId: id })
    const [unspecified, json, sarif, html, markdown] = await Promise.all(
      [ReportFormat.UNSPECIFIED, ...TEXTUAL].map((format) => report(id, format)),
    )
    expect(unspecified).toEqual(json)
    expect(GetAnalysisResponse.fromJSON(JSON.parse(json?.text ?? ''))).toEqual({ analysis })
    expect(ListFindingsResponse.fromJSON(JSON.parse(json?.text ?? '')).findings).toEqual(findings)
    const { version, runs } = JSON.parse(sarif?.text ?? '')
    expect(version).toBe('2.1.0')
    expect(runs[0].results).toHaveLength(findings.length)
    expect(html?.text).toMatch(/^<!doctype html>/i)
    expect(markdown?.text).toMatch(/^# /)
    expect([json, sarif, html, markdown].map((file) => [file?.mediaType, file?.fileName])).toEqual([
      ['application/json', 'contrato.report.json'],
      ['application/sarif+json', 'contrato.report.sarif'],
      ['text/html; charset=utf-8', 'contrato.report.html'],
      ['text/markdown; charset=utf-8', 'contrato.report.md'],
    ])
    for (const format of [ReportFormat.PDF, ReportFormat.CSV])
      expect(await failure(report(id, format))).toMatchObject({
        code: Code.INVALID_ARGUMENT,
        options: { fields: [{ field: 'format' }] },
      })
  })
})

describe('a watch', () => {
  it('shows the end of an analysis that has ended, once', async () => {
    const { id } = await start(library.put(CONTRACT))
    await ended(id)
    expect((await states(id)).map(({ state }) => state)).toEqual([AnalysisState.COMPLETED])
  })

  it('shows every state, across instances and a cut of the listening connection', async () => {
    await using proxy = await tcpProxy(database.url)
    await using other = await startInstance({
      databaseUrl: proxy.url,
      documents: library.address,
      workflows: service.workflows,
    })
    const ready = Promise.withResolvers<void>()
    const { id } = await start(library.put(CONTRACT, { ready: () => ready.promise }), {}, other.client)
    const seen: [AnalysisState, string][] = []
    for await (const { analysis } of other.client.watchAnalysis({ analysisId: id })) {
      const running = analysis?.steps.find(({ state }) => state === StepState.RUNNING)?.name ?? ''
      seen.push([analysis?.state ?? 0, running])
      if (running !== 'extract') continue
      proxy.cut()
      ready.resolve()
      await ended(id)
      proxy.restore()
    }
    expect(seen).toContainEqual([AnalysisState.RUNNING, 'extract'])
    expect(seen.at(-1)).toEqual([AnalysisState.COMPLETED, ''])
  })

  it('ends when the caller leaves', async () => {
    const ready = Promise.withResolvers<void>()
    const { id } = await start(library.put(CONTRACT, { ready: () => ready.promise }))
    const leaving = new AbortController()
    const watching = failure(
      (async () => {
        for await (const _ of client.watchAnalysis({ analysisId: id }, { signal: leaving.signal }))
          leaving.abort()
      })(),
    )
    expect((await watching).code).toBe(Code.CANCELLED)
    await eventually(() => expect(service.watches.size).toBe(0))
    ready.resolve()
    await ended(id)
  })
})

describe('an erased document', () => {
  const erase = (documentId: string) =>
    service.db.transaction((tx) =>
      service.events.publish(
        tx,
        DocumentErased,
        { documentId, receiptId: UNKNOWN },
        { aggregateType: 'document', aggregateId: documentId },
      ),
    )

  it('takes its analyses along, and what their events say', async () => {
    const documentId = library.put(CONTRACT, { name: 'CPF de Maria.pdf' })
    const { id } = await start(documentId)
    await ended(id)
    const { findings } = await client.listFindings({ analysisId: id })
    const textSha256 = findings.flatMap(({ evidence }) => evidence)[0]?.textSha256 ?? 'of no evidence'
    const kept = await start(library.put(CONTRACT))
    await ended(kept.id)
    await erase(documentId)
    await eventually(async () =>
      expect((await failure(client.getAnalysis({ analysisId: id }))).reason).toBe('ANALYSIS_NOT_FOUND'),
    )
    const run = { ...(await service.workflows.get(id)), outputs: await service.workflows.outputs(id) }
    expect(run.state).toBe('completed')
    for (const told of [documentId, 'Maria', textSha256]) expect(JSON.stringify(run)).not.toContain(told)
    const events = await history(id)
    expect(events.at(-1)?.type).toBe('AnalysisCompleted')
    expect(events.map(({ payload, userId }) => payload.toString() + userId).join('')).toBe('')
    expect((await client.getAnalysis({ analysisId: kept.id })).analysis?.state).toBe(AnalysisState.COMPLETED)
  })

  it('leaves no name with an analysis that was started while it was erased', async () => {
    const documentId = library.put(CONTRACT, { name: 'CPF de Maria.pdf' })
    const before = await start(documentId)
    await ended(before.id)
    await erase(documentId)
    await eventually(async () =>
      expect((await failure(client.getAnalysis({ analysisId: before.id }))).reason).toBe(
        'ANALYSIS_NOT_FOUND',
      ),
    )
    const ready = Promise.withResolvers<void>()
    const held = library.put(CONTRACT, { ready: () => ready.promise })
    const blocking = [await start(held), await start(held)]
    const { id, documentName } = await start(documentId)
    expect(documentName).toBe('CPF de Maria.pdf')
    library.remove(documentId)
    ready.resolve()
    for (const each of blocking) await ended(each.id)
    expect(await ended(id)).toMatchObject({
      state: AnalysisState.FAILED,
      documentName: '',
      failure: { step: 'extract', reason: 'DOCUMENT_NOT_FOUND' },
    })
    const told = (await history(id)).map(({ payload }) => payload.toString()).join('')
    expect(told).not.toContain('Maria')
  })

  it('ends the watches of analyses that are under way', async () => {
    const ready = Promise.withResolvers<void>()
    const documentId = library.put(CONTRACT, { ready: () => ready.promise })
    const { id } = await start(documentId)
    const watching = failure(states(id))
    await eventually(async () =>
      expect((await client.getAnalysis({ analysisId: id })).analysis?.state).toBe(AnalysisState.RUNNING),
    )
    await erase(documentId)
    expect((await watching).reason).toBe('ANALYSIS_NOT_FOUND')
    expect(await service.workflows.get(id)).toMatchObject({
      state: 'cancelled',
      input: null,
      failure: undefined,
    })
    ready.resolve()
  })
})

it('lists analyses newest first, page by page, by document and state', async () => {
  const as = service.clientAs('lister')
  const documentId = library.put(CONTRACT, { tenantId: 'lister' })
  const unreadable = library.put(undefined, { tenantId: 'lister' })
  const ids: string[] = []
  for (const id of [documentId, unreadable, documentId, documentId, unreadable])
    ids.unshift((await start(id, {}, as)).id)
  for (const id of ids) await ended(id, as)
  const list = async (filter: Parameters<AnalysisClient['listAnalyses']>[0]) =>
    (await as.listAnalyses(filter)).analyses.map(({ id }) => id)
  const at = (...indexes: number[]) => indexes.map((index) => ids[index])
  expect(await list({})).toEqual(ids)
  expect(await list({ documentId })).toEqual(at(1, 2, 4))
  expect(await list({ states: [AnalysisState.FAILED] })).toEqual(at(0, 3))
  expect(await list({ states: [AnalysisState.FAILED, AnalysisState.COMPLETED] })).toEqual(ids)
  expect(await list({ states: [AnalysisState.PAUSED] })).toEqual([])
  expect(await list({ batchId: 'some' })).toEqual([])
  expect(await list({ documentId: 'no id' })).toEqual([])
  for (const pageSize of [1, 2, 3, 5]) {
    const paged: string[] = []
    let pageToken = ''
    do {
      const page = await as.listAnalyses({ pageSize, pageToken })
      paged.push(...page.analyses.map(({ id }) => id))
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(paged).toEqual(ids)
  }
  expect((await failure(as.listAnalyses({ pageToken: 'eA' }))).reason).toBe('INVALID_PAGE_TOKEN')
})

it('returns NOT_FOUND to other tenants, and for ids that are not there or are none', async () => {
  const { id } = await start(library.put(CONTRACT))
  await ended(id)
  const targets: [AnalysisClient, string][] = [
    [service.clientAs('rival'), id],
    [client, UNKNOWN],
    [client, 'no id'],
    [client, id.toUpperCase()],
  ]
  for (const [as, analysisId] of targets) {
    const calls = [
      as.getAnalysis({ analysisId }),
      as.listFindings({ analysisId }),
      as.cancelAnalysis({ analysisId }),
      as.retryAnalysis({ analysisId }),
      Array.fromAsync(as.watchAnalysis({ analysisId })),
      Array.fromAsync(as.getReport({ analysisId })),
    ]
    for (const error of await Promise.all(calls.map(failure)))
      expect(error).toMatchObject({
        code: Code.NOT_FOUND,
        reason: 'ANALYSIS_NOT_FOUND',
        options: { resource: { type: 'analysis', name: analysisId } },
      })
  }
})

it('shows the packs that it has, with their rules and source', async () => {
  const { rulePacks } = await service.rulePacks.listRulePacks({ locale: 'en' })
  expect(rulePacks.map(({ ref }) => ref?.id)).toEqual(['core.contract', 'core.document'])
  const { rulePack, source } = await service.rulePacks.getRulePack({
    name: 'core.contract@1.0.0',
    locale: 'pt-BR',
  })
  expect(rulePack).toMatchObject({ title: 'Contrato', shipped: true, extends: [{ id: 'core.document' }] })
  expect(source).toContain('id: core.contract')
  expect((await failure(service.rulePacks.getRulePack({ name: 'none' }))).reason).toBe('UNKNOWN_RULE_PACK')
})
