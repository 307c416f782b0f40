import { readFile } from 'node:fs/promises'
import { DocumentCreated, DocumentVersionAdded } from '@docmesh/contracts/document/v1/events'
import type { Publish } from '@docmesh/events'
import { invalidRequest, RpcError, rpcError } from '@docmesh/rpc'
import type { Blobs, Staged } from './blobs.ts'
import {
  type Caller,
  type Description,
  type Document,
  type DocumentVersion,
  descriptionFaults,
  isId,
  isText,
  MAX_NAME,
} from './document.ts'
import { detect } from './extract/detect.ts'
import { ExtractionError } from './extract/extracted.ts'
import { documentNotFound } from './not-found.ts'
import { removeOrphan } from './orphans.ts'
import type { DocumentStore } from './store.ts'

export interface UploadMetadata extends Description {
  /** Empty: neither repeatable nor resumable. */
  readonly requestId: string
  /** A hint. */
  readonly mediaType: string
  /** Empty: not checked. */
  readonly sha256: string
  /** 0: not checked. */
  readonly sizeBytes: number
  /** 0 begins anew. */
  readonly offset: number
  /** Empty: a new document. */
  readonly documentId: string
}

export interface Stored {
  readonly document: Document
  readonly deduplicated: boolean
}

export interface Uploads {
  /** Stores nothing once `signal` has aborted: then the chunks may have ended early. */
  upload(
    metadata: UploadMetadata,
    chunks: AsyncIterable<Uint8Array>,
    caller: Caller & { readonly signal: AbortSignal },
  ): Promise<Stored>
  status(
    requestId: string,
    caller: Caller,
  ): Promise<{ receivedBytes: number; document: Document | undefined }>
  /** Removes what interrupted uploads left that nobody resumed for a day. */
  sweep(): Promise<void>
}

export interface UploadDeps {
  readonly store: DocumentStore
  readonly blobs: Blobs
  readonly publish: Publish
  readonly clock: () => Date
  readonly ids: () => string
  readonly maxBytes: number
}

const ABANDONED_MS = 86_400_000
const MAX_CHUNK_BYTES = 64 * 1024

/**
 * Uploads: the bytes go to a staging file and become a document in one transaction at the end, so that nothing is ever
 * half stored. An interrupted upload with a request id keeps its staging file and can be resumed on any instance.
 */
export function createUploads({ store, blobs, publish, clock, ids, maxBytes }: UploadDeps): Uploads {
  // No header value, so no tenant, has a line end: no two pairs make one key.
  const keyOf = (requestId: string, { tenantId }: Caller): string => `${tenantId}\n${requestId}`

  async function completed(requestId: string, { tenantId }: Caller): Promise<Document | undefined> {
    const id = requestId && (await store.findUpload(store, tenantId, requestId))
    return id ? store.get(store, tenantId, id) : undefined
  }

  /** Stages the bytes; the staging file outlives a broken stream but no answer. */
  async function receive(
    metadata: UploadMetadata,
    chunks: AsyncIterable<Uint8Array>,
    staged: Staged,
  ): Promise<void> {
    if (staged.size() !== metadata.offset) {
      throw rpcError(
        'UPLOAD_OFFSET_MISMATCH',
        `The upload is at byte ${staged.size()}, not ${metadata.offset}.`,
        {
          metadata: { received_bytes: String(staged.size()) },
        },
      )
    }
    for await (const chunk of chunks) {
      if (chunk.length > MAX_CHUNK_BYTES)
        throw invalidRequest([{ field: 'chunk', description: `at most ${MAX_CHUNK_BYTES} bytes` }])
      if (staged.size() + chunk.length > maxBytes) throw tooLarge(maxBytes)
      await staged.write(chunk)
    }
  }

  function verify({ sha256, sizeBytes }: UploadMetadata, staged: Staged): void {
    if (staged.size() === 0) throw rpcError('EMPTY_DOCUMENT', 'The document is empty.')
    if (sizeBytes > 0 && staged.size() !== sizeBytes) {
      throw rpcError('SIZE_MISMATCH', `${staged.size()} bytes arrived of ${sizeBytes} announced.`)
    }
    if (sha256 && staged.digest() !== sha256) {
      throw rpcError('CHECKSUM_MISMATCH', 'The bytes that arrived do not have the SHA-256 announced.', {
        metadata: { sha256: staged.digest() },
      })
    }
  }

  async function commit(
    metadata: UploadMetadata,
    staged: Staged,
    mediaType: string,
    caller: Caller & { readonly signal: AbortSignal },
  ): Promise<Stored> {
    const sha256 = staged.digest()
    const sizeBytes = staged.size()
    return store.transaction(async (tx) => {
      const before = metadata.documentId ? await locked(metadata.documentId) : undefined
      await store.lockContent(tx, sha256) // nobody may remove the content while it gets its reference
      const deduplicated = await store.hasContent(tx, caller.tenantId, sha256)
      const now = clock()
      const version = {
        sha256,
        sizeBytes,
        mediaType,
        createdAt: now,
        extraction: { state: 'pending' },
      } as const
      const document = before
        ? await addVersion(before, version)
        : await create({ ...version, number: 1, documentId: ids() })
      if (metadata.requestId)
        await store.recordUpload(tx, caller.tenantId, metadata.requestId, document.currentVersion)
      caller.signal.throwIfAborted()
      await staged.commit()
      return { document, deduplicated }

      async function create(currentVersion: DocumentVersion): Promise<Document> {
        const id = currentVersion.documentId
        const { name, tags, attributes } = metadata
        const described = {
          id,
          tenantId: caller.tenantId,
          ownerId: caller.userId,
          name,
          tags,
          attributes,
          createdAt: now,
          updatedAt: now,
        }
        await store.insert(tx, { ...described, currentVersion })
        await store.insertVersion(tx, currentVersion)
        const event = {
          documentId: id,
          name,
          mediaType,
          ownerId: caller.userId,
          sizeBytes: BigInt(sizeBytes),
          sha256,
        }
        await publish(tx, DocumentCreated, event, eventOptions(id))
        return { ...described, revision: '1', currentVersion }
      }

      /** The document before its contents: an erasure takes the locks in the same order. */
      async function locked(id: string): Promise<Document> {
        const found = await store.get(tx, caller.tenantId, id, { lock: true })
        if (!found) throw documentNotFound(id)
        return found
      }

      async function addVersion(
        before: Document,
        content: Omit<DocumentVersion, 'number' | 'documentId'>,
      ): Promise<Document> {
        const { id } = before
        const currentVersion = { ...content, documentId: id, number: before.currentVersion.number + 1 }
        await store.insertVersion(tx, currentVersion)
        await store.setCurrentVersion(tx, id, currentVersion.number, now)
        await publish(
          tx,
          DocumentVersionAdded,
          { documentId: id, version: currentVersion.number, sha256 },
          eventOptions(id),
        )
        return { ...before, currentVersion, updatedAt: now, revision: String(BigInt(before.revision) + 1n) }
      }
    })

    function eventOptions(aggregateId: string) {
      return {
        aggregateType: 'document',
        aggregateId,
        correlationId: caller.requestId,
        userId: caller.userId,
        tenantId: caller.tenantId,
      }
    }
  }

  return {
    async upload(metadata, chunks, caller) {
      validate(metadata, caller, maxBytes)
      const before = await completed(metadata.requestId, caller)
      if (before) return { document: before, deduplicated: true }
      const key = metadata.requestId ? keyOf(metadata.requestId, caller) : undefined
      const staged = await (key && metadata.offset > 0 ? blobs.resume(key) : blobs.stage(key))
      let stored: Stored | undefined
      try {
        await receive(metadata, chunks, staged)
        verify(metadata, staged)
        const mediaType = await typeOf(staged.path, metadata)
        stored = await commit(metadata, staged, mediaType, caller).catch(async (error) => {
          // A transaction that failed after its content was in place must leave no content behind.
          await removeOrphan({ store, blobs }, staged.digest())
          throw error
        })
      } catch (error) {
        await (key && isInterruption(error, caller) ? staged.keep() : staged.discard())
        const first = await completed(metadata.requestId, caller) // the same upload, sent twice at once
        if (!first) throw error
        stored = { document: first, deduplicated: true }
      }
      if (key) await blobs.forget(key)
      return stored
    },
    async status(requestId, caller) {
      if (!isText(requestId))
        throw invalidRequest([{ field: 'request_id', description: 'write the request id of the upload' }])
      const document = await completed(requestId, caller)
      const receivedBytes = document
        ? document.currentVersion.sizeBytes
        : await blobs.stagedBytes(keyOf(requestId, caller))
      if (!document && receivedBytes === 0)
        throw rpcError('UPLOAD_NOT_FOUND', `No upload with the request id "${requestId}" was begun.`)
      return { receivedBytes, document }
    },
    sweep: () => blobs.sweep(new Date(clock().getTime() - ABANDONED_MS)),
  }
}

/** The stream broke, rather than that something was wrong with it: a resume goes on where it stopped. */
const isInterruption = (error: unknown, { signal }: { readonly signal: AbortSignal }): boolean =>
  signal.aborted || !(error instanceof RpcError) || error.reason === 'UPLOAD_OFFSET_MISMATCH'

async function typeOf(path: string, { name, mediaType }: UploadMetadata): Promise<string> {
  try {
    return await detect(await readFile(path), { fileName: name, mediaType })
  } catch (error) {
    if (!(error instanceof ExtractionError)) throw error
    if (error.failure === 'empty') throw rpcError('EMPTY_DOCUMENT', error.message)
    if (error.failure === 'unsupported_type') throw rpcError('UNSUPPORTED_TYPE', error.message)
    throw rpcError('DOCUMENT_UNREADABLE', error.message, { metadata: { failure: error.failure } })
  }
}

function validate(metadata: UploadMetadata, { tenantId }: Caller, maxBytes: number): void {
  if (tenantId.length > MAX_NAME)
    throw invalidRequest([{ field: 'docmesh-tenant-id', description: `at most ${MAX_NAME} characters` }])
  const { sha256, sizeBytes, offset, documentId, requestId } = metadata
  const faults = descriptionFaults(metadata)
  const check = (ok: boolean, field: string, description: string): void => {
    if (!ok) faults.push({ field, description })
  }
  check(requestId === '' || isText(requestId), 'request_id', `at most ${MAX_NAME} characters`)
  check(sha256 === '' || /^[0-9a-f]{64}$/.test(sha256), 'sha256', '64 lower-case hexadecimal digits')
  check(sizeBytes >= 0, 'size_bytes', 'not negative')
  check(offset >= 0, 'offset', 'not negative')
  check(documentId === '' || isId(documentId), 'document_id', 'a document id')
  if (faults.length > 0)
    throw invalidRequest(faults.map(({ field, ...fault }) => ({ field: `metadata.${field}`, ...fault })))
  if (sizeBytes > maxBytes) throw tooLarge(maxBytes)
}

const tooLarge = (maxBytes: number) =>
  rpcError('DOCUMENT_TOO_LARGE', `Documents may have at most ${maxBytes} bytes.`, {
    quota: { subject: 'document size', description: `at most ${maxBytes} bytes` },
  })
