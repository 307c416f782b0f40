import { DocumentErased, DocumentUpdated } from '@docmesh/contracts/document/v1/events'
import type { Erase, Publish } from '@docmesh/events'
import { invalidRequest, type Page, type PageRequest, pageFrom, readPage, rpcError } from '@docmesh/rpc'
import type { Blobs } from './blobs.ts'
import {
  type Caller,
  type Description,
  type Document,
  type DocumentVersion,
  descriptionFaults,
  type ErasureReceipt,
  isId,
  isStorable,
  isTimestamp,
} from './document.ts'
import { documentNotFound, versionNotFound } from './not-found.ts'
import type { DocumentFilter, DocumentStore } from './store.ts'

export type Changes = Partial<Description>

export interface Documents {
  get(id: string, caller: Caller): Promise<Document>
  /** Version 0 is the current one. */
  version(
    id: string,
    number: number,
    caller: Caller,
  ): Promise<{ document: Document; version: DocumentVersion }>
  list(filter: DocumentFilter, page: PageRequest, caller: Caller): Promise<Page<Document>>
  versions(id: string, page: PageRequest, caller: Caller): Promise<Page<DocumentVersion>>
  /** An empty etag changes any state. */
  update(id: string, changes: Changes, etag: string, caller: Caller): Promise<Document>
  content(version: DocumentVersion, offset: number): AsyncIterable<Uint8Array>
  erase(id: string, reason: string, caller: Caller): Promise<ErasureReceipt>
}

export interface DocumentDeps {
  readonly store: DocumentStore
  readonly blobs: Blobs
  readonly publish: Publish
  readonly erase: Erase
  readonly clock: () => Date
  readonly ids: () => string
}

const CHUNK_BYTES = 64 * 1024

export function createDocuments({ store, blobs, publish, erase, clock, ids }: DocumentDeps): Documents {
  async function get(id: string, { tenantId }: Caller): Promise<Document> {
    const document = isId(id) ? await store.get(store, tenantId, id) : undefined
    if (!document) throw documentNotFound(id)
    return document
  }

  return {
    get,
    async version(id, number, caller) {
      const document = await get(id, caller)
      const current = number === 0 || number === document.currentVersion.number
      const version = current ? document.currentVersion : await store.version(store, id, number)
      if (!version) throw versionNotFound(id, number)
      return { document, version }
    },
    async list(filter, page, { tenantId }) {
      const { size, after } = readPage(page, isId)
      const faults = [
        { field: 'created_after', time: filter.createdAfter },
        { field: 'created_before', time: filter.createdBefore },
      ].filter(({ time }) => time && !isTimestamp(time))
      if (faults.length > 0)
        throw invalidRequest(faults.map(({ field }) => ({ field, description: 'a time of year 1 to 9999' })))
      const matchable = [...filter.tags, filter.nameContains, filter.mediaType].every(isStorable)
      if (!matchable) return { items: [], nextPageToken: '' }
      return pageFrom(await store.list(tenantId, filter, after, size), size, ({ id }) => id)
    },
    async versions(id, page, caller) {
      await get(id, caller)
      const { size, after } = readPage(page, (key) => /^\d{1,9}$/.test(key))
      const before = after ? Number(after) : 2 ** 31 - 1
      return pageFrom(await store.versions(store, id, before, size), size, ({ number }) => String(number))
    },
    async update(id, changes, etag, caller) {
      if (!isId(id)) throw documentNotFound(id)
      const faults = descriptionFaults(changes)
      if (faults.length > 0) throw invalidRequest(faults)
      return store.transaction(async (tx) => {
        const before = await store.get(tx, caller.tenantId, id, { lock: true })
        if (!before) throw documentNotFound(id)
        if (etag && etag !== before.revision)
          throw rpcError('STALE_ETAG', 'The document has changed since it was read.')
        const document = {
          ...before,
          ...changes,
          updatedAt: clock(),
          revision: String(BigInt(before.revision) + 1n),
        }
        await store.update(tx, document)
        await publish(tx, DocumentUpdated, { documentId: id }, eventOptions(id, caller))
        return document
      })
    },
    content: ({ sha256 }, offset) => blobs.read(sha256, offset, CHUNK_BYTES),
    async erase(id, reason, caller) {
      if (!isId(id)) throw documentNotFound(id)
      if (!isStorable(reason)) throw invalidRequest([{ field: 'reason', description: 'no character 0' }])
      return store.transaction(async (tx) => {
        const document = await store.get(tx, caller.tenantId, id, { lock: true })
        if (!document) {
          const earlier = await store.receipt(tx, caller.tenantId, id)
          if (earlier) return earlier
          throw documentNotFound(id)
        }
        const contentSha256 = await store.remove(tx, id)
        for (const sha256 of contentSha256) await store.lockContent(tx, sha256)
        const receipt = { id: ids(), documentId: id, contentSha256, reason, erasedAt: clock() }
        await store.insertReceipt(tx, caller.tenantId, receipt)
        await erase(tx, 'document', id)
        await publish(tx, DocumentErased, { documentId: id, receiptId: receipt.id }, eventOptions(id, caller))
        for (const sha256 of contentSha256) {
          if (!(await store.isReferenced(tx, sha256))) await blobs.remove(sha256)
        }
        return receipt
      })
    },
  }
}

const eventOptions = (aggregateId: string, { userId, tenantId, requestId }: Caller) => ({
  aggregateType: 'document',
  aggregateId,
  correlationId: requestId,
  userId,
  tenantId,
})
