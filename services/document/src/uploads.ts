import { readFile } from 'node:fs/promises'
import { DocumentCreated, DocumentVersionAdded } from '@docmesh/contracts/document/v1/events'
import type { Publish } from '@docmesh/events'
import { type FieldViolation, invalidRequest, rpcError } from '@docmesh/rpc'
import type { Blobs, Staged } from './blobs.ts'
import { type Caller, type Document, type DocumentVersion, isId } from './document.ts'
import { detect } from './extract/detect.ts'
import { ExtractionError } from './extract/extracted.ts'
import { documentNotFound } from './not-found.ts'
import type { DocumentStore } from './store.ts'

export interface UploadMetadata {
  /** Empty: neither repeatable nor resumable. */
  readonly requestId: string
  readonly name: string
  /** A hint. */
  readonly mediaType: string
  /** Empty: not checked. */
  readonly sha256: string
  /** 0: not checked. */
  readonly sizeBytes: number
  readonly offset: number
  /** Empty: a new document. */
  readonly documentId: string
  readonly tags: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
}

export interface Stored {
  readonly document: Document
  readonly deduplicated: boolean
}

export interface Uploads {
  upload(metadata: UploadMetadata, chunks: AsyncIterable<Uint8Array>, caller: Caller): Promise<Stored>
  status(
    requestId: string,
    caller: Caller,
  ): Promise<{ receivedBytes: number; document: Document | undefined }>
}

export interface UploadDeps {
  readonly store: DocumentStore
  readonly blobs: Blobs
  readonly publish: Publish
  readonly clock: () => Date
  readonly ids: () => string
  readonly maxBytes: number
}

const MAX_CHUNK_BYTES = 64 * 1024
const MAX_NAME = 255
const MAX_TAGS = 50
const MAX_ATTRIBUTES = 50

/**
 * Uploads: the bytes go to a staging file and become a document in one transaction at the end, so that nothing is ever
 * half stored. An interrupted upload with a request id keeps its staging file and can be resumed on any instance.
 */
export function createUploads({ store, blobs, publish, clock, ids, maxBytes }: UploadDeps): Uploads {
  const keyOf = (requestId: string, { tenantId }: Caller): string => `${tenantId}/${requestId}`

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

  /** A transaction that failed after its content was in place must leave no content behind. */
  function removeOrphan(sha256: string): Promise<void> {
    return store.transaction(async (tx) => {
      await store.lockContent(tx, sha256)
      if (!(await store.isReferenced(tx, sha256))) await blobs.remove(sha256)
    })
  }

  async function commit(
    metadata: UploadMetadata,
    staged: Staged,
    mediaType: string,
    caller: Caller,
  ): Promise<Stored> {
    const sha256 = staged.digest()
    const sizeBytes = staged.size()
    return store.transaction(async (tx) => {
      await store.lockContent(tx, sha256) // nobody may remove the content while it gets its reference
      const deduplicated = await blobs.has(sha256)
      const now = clock()
      const version = {
        sha256,
        sizeBytes,
        mediaType,
        createdAt: now,
        extraction: { state: 'pending' },
      } as const
      const document = metadata.documentId
        ? await addVersion(metadata.documentId, version)
        : await create({ ...version, number: 1, documentId: ids() })
      if (metadata.requestId)
        await store.recordUpload(tx, caller.tenantId, metadata.requestId, document.currentVersion)
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

      async function addVersion(
        id: string,
        content: Omit<DocumentVersion, 'number' | 'documentId'>,
      ): Promise<Document> {
        const before = await store.get(tx, caller.tenantId, id, { lock: true })
        if (!before) throw documentNotFound(id)
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
      validate(metadata, maxBytes)
      const before = await completed(metadata.requestId, caller)
      if (before) return { document: before, deduplicated: true }
      const staged = await blobs.stage(metadata.requestId ? keyOf(metadata.requestId, caller) : undefined)
      try {
        await receive(metadata, chunks, staged)
      } catch (error) {
        await (metadata.requestId && isInterruption(error) ? staged.keep() : staged.discard())
        throw error
      }
      try {
        verify(metadata, staged)
        return await commit(metadata, staged, await typeOf(staged.path, metadata), caller)
      } catch (error) {
        await staged.discard()
        await removeOrphan(staged.digest())
        const first = await completed(metadata.requestId, caller) // the same upload, sent twice at once
        if (first) return { document: first, deduplicated: true }
        throw error
      }
    },
    async status(requestId, caller) {
      if (!requestId)
        throw invalidRequest([{ field: 'request_id', description: 'write the request id of the upload' }])
      const document = await completed(requestId, caller)
      const receivedBytes = document
        ? document.currentVersion.sizeBytes
        : await blobs.stagedBytes(keyOf(requestId, caller))
      if (!document && receivedBytes === 0)
        throw rpcError('UPLOAD_NOT_FOUND', `No upload with the request id "${requestId}" was begun.`)
      return { receivedBytes, document }
    },
  }
}

/** The stream broke, rather than that something was wrong with it: a resume goes on where it stopped. */
const isInterruption = (error: unknown): boolean =>
  !(error instanceof Error && error.name === 'RpcError') ||
  (error as { reason?: string }).reason === 'UPLOAD_OFFSET_MISMATCH'

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

function validate(metadata: UploadMetadata, maxBytes: number): void {
  const { name, sha256, sizeBytes, offset, documentId, tags, attributes, requestId } = metadata
  const faults: FieldViolation[] = []
  const check = (ok: boolean, field: string, description: string): void => {
    if (!ok) faults.push({ field: `metadata.${field}`, description })
  }
  check(name.trim() !== '' && name.length <= MAX_NAME, 'name', `1 to ${MAX_NAME} characters`)
  check(requestId.length <= MAX_NAME, 'request_id', `at most ${MAX_NAME} characters`)
  check(sha256 === '' || /^[0-9a-f]{64}$/.test(sha256), 'sha256', '64 lower-case hexadecimal digits')
  check(sizeBytes >= 0, 'size_bytes', 'not negative')
  check(offset >= 0, 'offset', 'not negative')
  check(documentId === '' || isId(documentId), 'document_id', 'a document id')
  check(
    tags.length <= MAX_TAGS && tags.every((tag) => tag !== '' && tag.length <= MAX_NAME),
    'tags',
    `at most ${MAX_TAGS} of 1 to ${MAX_NAME} characters`,
  )
  check(Object.keys(attributes).length <= MAX_ATTRIBUTES, 'attributes', `at most ${MAX_ATTRIBUTES}`)
  if (faults.length > 0) throw invalidRequest(faults)
  if (sizeBytes > maxBytes) throw tooLarge(maxBytes)
}

const tooLarge = (maxBytes: number) =>
  rpcError('DOCUMENT_TOO_LARGE', `Documents may have at most ${maxBytes} bytes.`, {
    quota: { subject: 'document size', description: `at most ${maxBytes} bytes` },
  })
