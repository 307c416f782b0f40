import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type {
  Document,
  GetUploadStatusResponse,
  UploadDocumentRequest,
} from '@docmesh/contracts/document/v1/document'
import { Code, RpcError } from '@docmesh/rpc'
import type { MeshSession } from './mesh-session.ts'
import type { Source } from './source.ts'

const MAX_ATTEMPTS = 4
const RETRY_DELAY_MS = 250

/**
 * Uploads a document; when the instance goes away in the middle, resumes with another from what was kept. Repeating the
 * request id gives the same document.
 */
export async function uploadDocument(
  documents: MeshSession['documents'],
  source: Source,
  onBytes: (sent: number) => void,
  requestId: string = randomUUID(),
): Promise<Document> {
  for (let attempt = 1, offset = 0; ; attempt++) {
    try {
      const { document } = await documents.uploadDocument(parts(source, requestId, offset, onBytes))
      return present(document)
    } catch (error) {
      if (!isPassing(error) || attempt === MAX_ATTEMPTS) throw error
    }
    await delay(RETRY_DELAY_MS * attempt)
    const { document, receivedBytes } = await statusOf(documents, requestId)
    if (document) return document
    offset = Number(receivedBytes)
  }
}

/** Of an instance that goes away, or has too much to do: another one may take the document. */
const isPassing = (error: unknown): boolean =>
  error instanceof RpcError && (error.code === Code.UNAVAILABLE || error.reason === 'OVERLOADED')

async function* parts(
  source: Source,
  requestId: string,
  offset: number,
  onBytes: (sent: number) => void,
): AsyncIterable<UploadDocumentRequest> {
  const { name, sha256, sizeBytes } = source
  yield {
    part: {
      $case: 'metadata',
      value: {
        requestId,
        name,
        sha256,
        sizeBytes: BigInt(sizeBytes),
        offset: BigInt(offset),
        mediaType: '',
        documentId: '',
        tags: [],
        attributes: {},
      },
    },
  }
  let sent = offset
  for await (const chunk of source.read(offset)) {
    yield { part: { $case: 'chunk', value: Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) } }
    sent += chunk.length
    onBytes(sent)
  }
}

async function statusOf(
  documents: MeshSession['documents'],
  requestId: string,
): Promise<GetUploadStatusResponse> {
  try {
    return await documents.getUploadStatus({ requestId })
  } catch (error) {
    if (error instanceof RpcError && error.code === Code.NOT_FOUND)
      return { receivedBytes: 0n, document: undefined }
    throw error
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('The service answered without the document.')
  return value
}
