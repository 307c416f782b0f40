import { randomUUIDv7 } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { connectEvents } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import {
  createClient,
  grpcJsClient,
  grpcJsServer,
  implement,
  type Layer,
  routesOf,
  sendOver,
} from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { documentsOver } from '../documents.ts'
import { openEngine } from '../engine.ts'
import { subscribeErasure } from '../erasure.ts'
import { analysisHandlers } from '../handlers.ts'
import { openPacks } from '../packs.ts'
import { createReports } from '../reports.ts'
import { analysisStore } from '../store.ts'
import { createTexts } from '../texts.ts'
import { subscribeBatchErasure } from './erasure.ts'
import { batchHandlers } from './handlers.ts'

const asAna: Layer = (next) => (call) =>
  next({
    ...call,
    metadata: { ...call.metadata, 'docmesh-user-id': 'ana', 'docmesh-tenant-id': 'acme' },
  })

/** Batches over real analyses, as `main.ts` puts them together. One per process. */
export async function startBatchSaga(databaseUrl: string, documentsAddress: string) {
  const stack = new AsyncDisposableStack()
  const migrations = new URL('../../migrations', import.meta.url)
  const db = stack.use(await openPostgres({ url: databaseUrl, schema: 'analysis', migrations }))
  const events = stack.use(await connectEvents({ db, pollMs: 100 }))
  const { publish } = events
  const metrics = createMetrics({ service: 'analysis', version: '0', processMetrics: false })
  const packs = await openPacks(fileURLToPath(new URL('../../packs', import.meta.url)))
  const store = analysisStore(db)
  const toDocuments = grpcJsClient.connect(documentsAddress)
  stack.defer(() => toDocuments.close())
  const documents = documentsOver(createClient(DocumentServiceDefinition, sendOver(toDocuments)))
  const texts = createTexts(documents)
  stack.defer(() => texts.close())
  const clock = () => new Date()
  const { analyses, batches, workflows, close } = await openEngine({
    db,
    store,
    documents,
    texts,
    packs,
    publish,
    metrics,
    logger: silentLogger,
    clock,
    ids: randomUUIDv7,
    concurrency: 4,
  })
  stack.defer(close)
  subscribeErasure(events, { store, workflows, texts })
  subscribeBatchErasure(events, batches)
  const listener = await grpcJsServer.listen('127.0.0.1:0', [
    ...routesOf(implement(BatchServiceDefinition, batchHandlers(batches, { clock })), []),
    ...routesOf(
      implement(AnalysisServiceDefinition, analysisHandlers(analyses, createReports(analyses, documents))),
      [],
    ),
  ])
  stack.defer(() => listener.close(0))
  const connection = grpcJsClient.connect(listener.address)
  stack.defer(() => connection.close())
  return {
    db,
    events,
    batches: createClient(BatchServiceDefinition, sendOver(connection), [asAna]),
    analyses: createClient(AnalysisServiceDefinition, sendOver(connection), [asAna]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
