import { createHash, randomUUID, randomUUIDv7 } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { RulePackServiceDefinition } from '@docmesh/contracts/analysis/v1/rule_pack'
import { DocumentServiceDefinition, type TextLayout } from '@docmesh/contracts/document/v1/document'
import { JobServiceDefinition } from '@docmesh/contracts/ops/v1/job'
import { connectEvents } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import {
  type Client,
  createClient,
  grpcJsClient,
  grpcJsServer,
  type Implementation,
  implement,
  type Layer,
  RpcError,
  routesOf,
  rpcError,
  type ServiceDefinition,
  sendOver,
} from '@docmesh/rpc'
import { createMetrics, type Logger, silentLogger } from '@docmesh/telemetry'
import { createWorkflows, type Workflows } from '@docmesh/workflow'
import type { Analyses } from './analyses.ts'
import { subscribeBatchErasure } from './batch/erasure.ts'
import { batchHandlers } from './batch/handlers.ts'
import { documentsOver } from './documents.ts'
import { openEngine } from './engine.ts'
import { subscribeErasure } from './erasure.ts'
import { analysisHandlers } from './handlers.ts'
import { jobHandlers } from './job/handlers.ts'
import { openPacks } from './packs.ts'
import { createReports } from './reports.ts'
import { rulePackHandlers } from './rule-pack-handlers.ts'
import { sampleDocument } from './rules/sample-text.ts'
import { analysisStore } from './store.ts'
import { createTexts } from './texts.ts'

export type AnalysisClient = Client<typeof AnalysisServiceDefinition>
export type Instance = Awaited<ReturnType<typeof startInstance>>
export type Library = Awaited<ReturnType<typeof startLibrary>>

const listen = (implementations: Implementation[], address = '127.0.0.1:0') =>
  grpcJsServer.listen(
    address,
    implementations.flatMap((implementation) => routesOf(implementation, [])),
  )

const layoutOf = (source: string): { layout: TextLayout; text: string } => {
  const { text, pages, blocks, signals, properties, mediaType } = sampleDocument(source)
  return {
    text,
    layout: {
      version: {
        number: 1,
        sha256: createHash('sha256').update(source).digest('hex'),
        sizeBytes: BigInt(source.length),
        mediaType,
        extractionState: 3,
        extractionError: '',
        pageCount: pages.length,
        language: '',
        createdAt: undefined,
      },
      textSha256: createHash('sha256').update(text).digest('hex'),
      length: text.length,
      pages: pages.map((page) => ({ width: 0, height: 0, ...page })),
      blocks: blocks.map((block) => ({ level: 0, box: undefined, ...block })),
      signals: signals.map((signal) => ({ page: 0, start: undefined, end: undefined, ...signal })),
      properties: { ...properties },
      extractor: 'library',
      ocrConfidence: undefined,
    },
  }
}

interface Shelved {
  readonly tenantId: string
  readonly name: string
  /** Undefined: cannot be read. */
  readonly source: string | undefined
  /** The text comes when what this returns resolves. */
  readonly ready: () => Promise<void>
}

/** A document service that holds texts in memory, on a real port, which can be away and come back. */
export async function startLibrary() {
  const shelf = new Map<string, Shelved>()
  let asked = 0
  const find = (documentId: string, tenantId: string): Shelved => {
    const found = shelf.get(documentId)
    if (found?.tenantId === tenantId) return found
    throw rpcError('DOCUMENT_NOT_FOUND', 'not here', { resource: { type: 'document', name: documentId } })
  }
  const service = implement(DocumentServiceDefinition, {
    async getDocument({ documentId }, { tenantId }) {
      const { name } = find(documentId, tenantId)
      return { document: { id: documentId, name, currentVersion: { number: 1 } } }
    },
    async *extractText({ documentId }, { tenantId }) {
      asked++
      const { source, ready } = find(documentId, tenantId)
      yield { part: { $case: 'progress', value: {} } }
      await ready()
      if (source === undefined)
        throw rpcError('DOCUMENT_UNREADABLE', 'The file is protected by a password.', {
          metadata: { failure: 'encrypted' },
        })
      const { layout, text } = layoutOf(source)
      yield { part: { $case: 'layout', value: layout } }
      yield { part: { $case: 'text', value: text } }
    },
  })
  let listener = await listen([service])
  const { address } = listener
  return {
    address,
    asked: () => asked,
    put(
      source: string | undefined,
      { tenantId = 'acme', name = 'contrato.pdf', ready = () => Promise.resolve() } = {},
    ) {
      const id = randomUUID()
      shelf.set(id, { tenantId, name, source, ready })
      return id
    },
    remove: (id: string) => shelf.delete(id),
    close: () => listener.close(0),
    async reopen() {
      listener = await listen([service], address)
    },
  }
}

const callingAs =
  (userId: string, tenantId: string): Layer =>
  (next) =>
  (call) =>
    next({
      ...call,
      metadata: { ...call.metadata, 'docmesh-user-id': userId, 'docmesh-tenant-id': tenantId },
    })

export interface InstanceOptions {
  readonly databaseUrl: string
  readonly documents: string
  /** Analyses at the same time; 0: it only answers calls, and leaves the one place for an engine in this process free. */
  readonly concurrency?: number
  /** Of another instance in this process; then this one only answers calls. */
  readonly workflows?: Workflows
  readonly poolMax?: number
  /** Before the second attempt of a step, and twice as much before each other; default 10, so that they are soon used up. */
  readonly retryMs?: number
  /** Silence of an instance after which the others take over from it; default 5 000. */
  readonly deadAfterMs?: number
  readonly maxRecoveryAttempts?: number
  readonly logger?: Logger
}

/** One whole instance of the service, as `main.ts` puts it together. */
export async function startInstance({
  databaseUrl,
  documents: documentsAddress,
  concurrency = 2,
  workflows: others,
  poolMax = 10,
  retryMs = 10,
  deadAfterMs = 5_000,
  maxRecoveryAttempts = 10,
  logger = silentLogger,
}: InstanceOptions) {
  const stack = new AsyncDisposableStack()
  const migrations = new URL('../migrations', import.meta.url)
  const db = stack.use(await openPostgres({ url: databaseUrl, schema: 'analysis', migrations, poolMax }))
  const events = stack.use(await connectEvents({ db, pollMs: 100 }))
  const metrics = createMetrics({ service: 'analysis', version: '0', processMetrics: false })
  const packs = await openPacks(fileURLToPath(new URL('../packs', import.meta.url)))
  const store = analysisStore(db)
  const toDocuments = grpcJsClient.connect(documentsAddress)
  stack.defer(() => toDocuments.close())
  const documents = documentsOver(createClient(DocumentServiceDefinition, sendOver(toDocuments)))
  const texts = createTexts(documents)
  stack.defer(() => texts.close())
  const clock = () => new Date()
  const engine = await openEngine({
    ...{ db, store, documents, texts, packs, metrics, logger, clock },
    publish: events.publish,
    ids: randomUUIDv7,
    concurrency: Math.max(1, concurrency),
    openWorkflows: async (options) =>
      others
        ? { ...others, stop: async () => {} }
        : createWorkflows({
            ...options,
            heartbeatMs: deadAfterMs / 5,
            deadAfterMs,
            maxRecoveryAttempts,
            retryDelayMs: (attempt) => retryMs * 2 ** (attempt - 1),
          }),
  })
  stack.defer(() => engine.close())
  if (concurrency === 0) await engine.stop()
  const { analyses, batches, workflows } = engine
  const watches = new Set<symbol>()
  const watched: Analyses = {
    ...analyses,
    async *watch(...watch) {
      const open = Symbol()
      watches.add(open)
      try {
        yield* analyses.watch(...watch)
      } finally {
        watches.delete(open)
      }
    },
  }
  const listener = await listen([
    implement(AnalysisServiceDefinition, analysisHandlers(watched, createReports(analyses, documents))),
    implement(RulePackServiceDefinition, rulePackHandlers(packs)),
    implement(BatchServiceDefinition, batchHandlers(batches, { clock })),
    implement(JobServiceDefinition, jobHandlers(workflows.jobs)),
  ])
  stack.defer(() => listener.close(0))
  subscribeErasure(events, { store, workflows, texts })
  subscribeBatchErasure(events, batches)

  const clientOf = <D extends ServiceDefinition>(definition: D, tenantId: string): Client<D> => {
    const connection = grpcJsClient.connect(listener.address)
    stack.defer(() => connection.close())
    return createClient(definition, sendOver(connection), [callingAs('ana', tenantId)])
  }
  return {
    db,
    events,
    workflows,
    analyses,
    /** Watches that are open. */
    watches,
    stopWork: engine.stop,
    clientAs: (tenantId: string) => clientOf(AnalysisServiceDefinition, tenantId),
    client: clientOf(AnalysisServiceDefinition, 'acme'),
    rulePacks: clientOf(RulePackServiceDefinition, 'acme'),
    batches: clientOf(BatchServiceDefinition, 'acme'),
    jobs: clientOf(JobServiceDefinition, 'acme'),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

export async function failure(work: Promise<unknown>): Promise<RpcError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`)
  return error
}
