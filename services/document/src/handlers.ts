import { setImmediate } from 'node:timers/promises'
import type {
  DocumentServiceDefinition,
  UploadDocumentRequest,
  UploadMetadata,
} from '@docmesh/contracts/document/v1/document'
import { type CallContext, Code, codeOfError, type Handlers, invalidRequest, RpcError } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Changes, Documents } from './documents.ts'
import type { Extractions } from './extractions.ts'
import type { Uploads } from './uploads.ts'
import { documentMessage, receiptMessage, versionMessage } from './wire.ts'

export interface HandlerDeps {
  readonly documents: Documents
  readonly uploads: Uploads
  readonly extractions: Extractions
  readonly metrics: Metrics
}

/** UTF-16 code units per text message; four bytes of UTF-8 each at most. */
const TEXT_CHUNK = 64 * 1024

/** DocumentService: wire ↔ domain. */
export function documentHandlers({
  documents,
  uploads,
  extractions,
  metrics,
}: HandlerDeps): Handlers<typeof DocumentServiceDefinition> {
  const counted = metrics.counter('docmesh_document_uploads_total')
  const bytes = metrics.histogram('docmesh_document_upload_bytes')
  return {
    async uploadDocument(requests, call) {
      const { metadata, chunks } = await readUpload(requests, call)
      try {
        const upload = { ...metadata, sizeBytes: Number(metadata.sizeBytes), offset: Number(metadata.offset) }
        const { document, deduplicated } = await uploads.upload(upload, chunks, call)
        const { mediaType, sizeBytes } = document.currentVersion
        counted.inc({ media_type: mediaType, outcome: deduplicated ? 'duplicate' : 'stored' })
        bytes.observe(sizeBytes)
        return { document: documentMessage(document), deduplicated }
      } catch (error) {
        const isFull = error instanceof RpcError && error.reason === 'STORAGE_FULL'
        const ours = isFull || [Code.INTERNAL, Code.UNAVAILABLE].some((code) => code === codeOfError(error))
        counted.inc({ media_type: 'other', outcome: ours ? 'failure' : 'rejected' })
        throw error
      }
    },
    async getUploadStatus({ requestId }, call) {
      const { receivedBytes, document } = await uploads.status(requestId, call)
      return { receivedBytes: BigInt(receivedBytes), document: document && documentMessage(document) }
    },
    async getDocument({ documentId }, call) {
      return { document: documentMessage(await documents.get(documentId, call)) }
    },
    async listDocuments(request, call) {
      const { items, nextPageToken } = await documents.list(request, request, call)
      return { documents: items.map(documentMessage), nextPageToken }
    },
    async listDocumentVersions(request, call) {
      const { items, nextPageToken } = await documents.versions(request.documentId, request, call)
      return { versions: items.map(versionMessage), nextPageToken }
    },
    async updateDocument({ documentId, etag, name, tags, attributes }, call) {
      const changes: Changes = {
        ...(name !== undefined && { name }),
        ...(tags && { tags: tags.values }),
        ...(attributes && { attributes: attributes.values }),
      }
      return { document: documentMessage(await documents.update(documentId, changes, etag, call)) }
    },
    async *downloadDocument({ documentId, version: number, offset }, call) {
      const { document, version } = await documents.version(documentId, number, call)
      if (offset < 0n || offset > BigInt(version.sizeBytes)) {
        throw invalidRequest([{ field: 'offset', description: `write 0 to ${version.sizeBytes}` }])
      }
      yield { part: { $case: 'metadata', value: { name: document.name, version: versionMessage(version) } } }
      for await (const chunk of documents.content(version, Number(offset))) {
        yield { part: { $case: 'chunk', value: Buffer.from(chunk) } }
      }
    },
    async *extractText({ documentId, version: number }, call) {
      const { document, version } = await documents.version(documentId, number, call)
      yield { part: { $case: 'progress', value: { pagesDone: 0, pagesTotal: 0 } } }
      // The extraction goes on for others when this caller leaves.
      const { layout, text } = await untilGone(extractions.text(document, version), call.signal)
      yield { part: { $case: 'layout', value: layout } }
      for (let at = 0; at < text.length; ) {
        const end = chunkEnd(text, at)
        yield { part: { $case: 'text', value: text.slice(at, end) } }
        at = end
      }
    },
    async deleteDocument({ documentId, reason }, call) {
      return { receipt: receiptMessage(await documents.erase(documentId, reason, call)) }
    },
  }
}

/** A chunk must not part a surrogate pair: each half alone is not UTF-8. */
function chunkEnd(text: string, at: number): number {
  const end = Math.min(at + TEXT_CHUNK, text.length)
  const last = text.charCodeAt(end - 1)
  return last >= 0xd800 && last < 0xdc00 && end < text.length ? end - 1 : end
}

function untilGone<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const gone = Promise.withResolvers<never>()
  const leave = (): void => gone.reject(signal.reason)
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  return Promise.race([work, gone.promise]).finally(() => signal.removeEventListener('abort', leave))
}

async function readUpload(
  requests: AsyncIterable<UploadDocumentRequest>,
  { signal }: CallContext,
): Promise<{ metadata: UploadMetadata; chunks: AsyncIterable<Uint8Array> }> {
  const iterator = requests[Symbol.asyncIterator]()
  const first = await iterator.next()
  const part = first.done ? undefined : first.value.part
  if (part?.$case !== 'metadata') throw invalidRequest([{ field: 'metadata', description: 'send it first' }])
  return { metadata: part.value, chunks: chunksOf(iterator, signal) }
}

/** Turns of the event loop after which a call that was reset says so; its requests look ended at once. */
const RESET_TURNS = 5

async function* chunksOf(
  iterator: AsyncIterator<UploadDocumentRequest>,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  for (let item = await iterator.next(); !item.done; item = await iterator.next()) {
    const { part } = item.value
    if (part?.$case !== 'chunk')
      throw invalidRequest([{ field: 'part', description: 'send chunks after the metadata' }])
    yield part.value
  }
  for (let turn = 0; turn < RESET_TURNS; turn++) await setImmediate()
  signal.throwIfAborted()
}
