import { randomUUIDv7 } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { DocumentServiceDefinition, type UploadMetadata } from '@docmesh/contracts/document/v1/document'
import { connectEvents, type Publish } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import {
  type Client,
  createClient,
  grpcJsClient,
  grpcJsServer,
  implement,
  type Layer,
  RpcError,
  routesOf,
  sendOver,
} from '@docmesh/rpc'
import { createMetrics } from '@docmesh/telemetry'
import { openBlobs } from './blobs.ts'
import { createDocuments } from './documents.ts'
import { createExtractionPool, type ExtractionPoolOptions } from './extract/pool.ts'
import { createExtractions } from './extractions.ts'
import { documentHandlers } from './handlers.ts'
import { sweepOrphans } from './orphans.ts'
import { documentStore } from './store.ts'
import { createUploads } from './uploads.ts'

export type DocumentClient = Client<typeof DocumentServiceDefinition>
export type World = Awaited<ReturnType<typeof openWorld>>

export const MAX_BYTES = 200_000

export const fixture = (name: string): Promise<Buffer> =>
  readFile(new URL(`../fixtures/${name}`, import.meta.url))

const callingAs =
  (userId: string, tenantId: string): Layer =>
  (next) =>
  (call) =>
    next({
      ...call,
      metadata: { ...call.metadata, 'docmesh-user-id': userId, 'docmesh-tenant-id': tenantId },
    })

/** The whole service as `main.ts` puts it together, behind a real port, with a folder of its own. */
export async function openWorld(databaseUrl: string, poolOptions: ExtractionPoolOptions = {}) {
  const stack = new AsyncDisposableStack()
  const migrations = new URL('../migrations', import.meta.url)
  const db = stack.use(await openPostgres({ url: databaseUrl, schema: 'document', migrations }))
  const events = stack.use(await connectEvents({ db }))
  const folder = await mkdtemp(join(tmpdir(), 'documents-'))
  stack.defer(() => rm(folder, { recursive: true }))
  const pool = createExtractionPool(poolOptions)
  stack.defer(() => pool.close())

  const blobs = await openBlobs(folder)
  const metrics = createMetrics({ service: 'document', version: '0', processMetrics: false })
  const depsAt = (publish: Publish, clock: () => Date) => ({
    store: documentStore(db),
    blobs,
    publish,
    erase: events.erase,
    clock,
    ids: randomUUIDv7,
    maxBytes: MAX_BYTES,
  })
  const clientAt = (address: string, tenantId = 'acme', userId = 'ana'): DocumentClient => {
    const connection = grpcJsClient.connect(address)
    stack.defer(() => connection.close())
    return createClient(DocumentServiceDefinition, sendOver(connection), [callingAs(userId, tenantId)])
  }
  /** Another instance; returns its address. */
  const serve = async (publish: Publish = events.publish): Promise<string> => {
    const deps = depsAt(publish, () => new Date())
    const handlers = documentHandlers({
      documents: createDocuments(deps),
      uploads: createUploads(deps),
      extractions: createExtractions({ ...deps, pool, metrics }),
      metrics,
    })
    const routes = routesOf(implement(DocumentServiceDefinition, handlers), [])
    const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
    stack.defer(() => listener.close(0))
    return listener.address
  }
  const address = await serve()

  const files = async (): Promise<string[]> => {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  }
  const staged = async () => (await files()).filter((path) => path.includes(`${sep}staging${sep}`))
  return {
    db,
    events,
    pool,
    address,
    serve,
    clientAt,
    clientAs: (tenantId: string) => clientAt(address, tenantId),
    client: clientAt(address),
    sweepOrphansAt: (now: Date, ageMs: number, signal = new AbortController().signal) =>
      sweepOrphans(
        depsAt(events.publish, () => now),
        { ageMs, signal },
      ),
    uploadsAt: (now: Date) => createUploads(depsAt(events.publish, () => now)),
    staged,
    blobs: async () => (await files()).filter((path) => !path.includes(`${sep}staging${sep}`)),
    count: async (table: string) => (await db.query(`select from ${table}`)).length,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

export async function* uploadOf(
  metadata: Partial<UploadMetadata>,
  content: Uint8Array,
  chunkBytes = 32_768,
): AsyncGenerator<{
  part: { $case: 'metadata'; value: UploadMetadata } | { $case: 'chunk'; value: Buffer }
}> {
  yield {
    part: {
      $case: 'metadata',
      value: {
        requestId: '',
        name: 'file',
        mediaType: '',
        sha256: '',
        sizeBytes: 0n,
        offset: 0n,
        documentId: '',
        tags: [],
        attributes: {},
        ...metadata,
      },
    },
  }
  for (let at = 0; at < content.length; at += chunkBytes)
    yield { part: { $case: 'chunk', value: Buffer.from(content.subarray(at, at + chunkBytes)) } }
}

export async function upload(
  client: DocumentClient,
  content: Uint8Array | string,
  metadata: Partial<UploadMetadata> = {},
) {
  const { document, deduplicated } = await client.uploadDocument(uploadOf(metadata, Buffer.from(content)))
  if (!document?.currentVersion) throw new Error('the answer has no document')
  return { document, version: document.currentVersion, deduplicated }
}

export async function failure(work: Promise<unknown>): Promise<RpcError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`)
  return error
}
