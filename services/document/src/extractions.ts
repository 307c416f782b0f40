import { createHash } from 'node:crypto'
import type { TextLayout } from '@docmesh/contracts/document/v1/document'
import { DocumentTextExtracted, DocumentTextUnreadable } from '@docmesh/contracts/document/v1/events'
import type { Publish } from '@docmesh/events'
import { type RpcError, rpcError, runDetached } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Blobs } from './blobs.ts'
import type { Document, DocumentVersion } from './document.ts'
import { type Extracted, ExtractionError } from './extract/extracted.ts'
import type { ExtractionPool } from './extract/pool.ts'
import { documentNotFound } from './not-found.ts'
import type { DocumentStore } from './store.ts'
import { decodeLayout, encodeLayout, versionMessage } from './wire.ts'

export interface Text {
  readonly layout: TextLayout
  readonly text: string
}

export interface Extractions {
  /** The canonical text of a version, extracted on the first call. Throws DOCUMENT_UNREADABLE. */
  text(document: Document, version: DocumentVersion): Promise<Text>
}

export interface ExtractionDeps {
  readonly store: DocumentStore
  readonly blobs: Blobs
  readonly publish: Publish
  readonly pool: ExtractionPool
  readonly metrics: Metrics
}

const KILLS: Readonly<Record<string, 'timeout' | 'memory' | 'crash'>> = {
  time_limit: 'timeout',
  memory_limit: 'memory',
  crashed: 'crash',
}

/**
 * Extraction on demand, once per version. Callers that ask meanwhile share the work; a caller that leaves does not stop
 * it, because its result is kept for the next one.
 */
export function createExtractions({ store, blobs, publish, pool, metrics }: ExtractionDeps): Extractions {
  const running = new Map<string, Promise<Text>>()
  const seconds = metrics.histogram('docmesh_document_extraction_seconds')
  const kills = metrics.counter('docmesh_document_extraction_kills_total')

  async function extract(document: Document, version: DocumentVersion): Promise<Text> {
    await store.markRunning(version)
    const begun = performance.now()
    const observe = (outcome: 'extracted' | 'unreadable' | 'failure'): void =>
      seconds.observe({ media_type: version.mediaType, outcome }, (performance.now() - begun) / 1_000)
    try {
      const input = {
        path: blobs.path(version.sha256),
        fileName: document.name,
        mediaType: version.mediaType,
      }
      const extracted = await pool.extract(input)
      observe('extracted')
      return await saveText(document, version, extracted)
    } catch (error) {
      const kept = await store.version(store, version.documentId, version.number)
      if (!kept) throw documentNotFound(version.documentId) // erased meanwhile
      if (!(error instanceof ExtractionError)) {
        observe('failure')
        throw error
      }
      observe('unreadable')
      const kill = KILLS[error.failure]
      if (kill) kills.inc({ reason: kill })
      await saveUnreadable(document, version, error)
      throw unreadable(error.failure, error.message)
    }
  }

  async function saveText(document: Document, version: DocumentVersion, extracted: Extracted): Promise<Text> {
    const pageCount = extracted.pages.length
    const language = extracted.properties.language ?? ''
    const done: DocumentVersion = { ...version, extraction: { state: 'extracted', pageCount, language } }
    const layout = layoutOf(done, extracted)
    const { text } = extracted
    const saved = await store.transaction(async (tx) => {
      // First of all: readers get events in the order in which their transactions began to write.
      if (!(await store.lock(tx, document.id))) return false
      if (!(await store.saveText(tx, version, { text, layout: encodeLayout(layout) }, pageCount, language)))
        return false
      const event = { documentId: document.id, version: version.number, pageCount, length: text.length }
      await publish(tx, DocumentTextExtracted, event, eventOptions(document))
      return true
    })
    return saved ? { layout, text } : stored(version)
  }

  function saveUnreadable(
    document: Document,
    version: DocumentVersion,
    { failure, message }: ExtractionError,
  ): Promise<void> {
    return store.transaction(async (tx) => {
      if (!(await store.lock(tx, document.id))) return
      if (!(await store.saveUnreadable(tx, version, failure, message))) return
      await publish(
        tx,
        DocumentTextUnreadable,
        { documentId: document.id, version: version.number, reason: failure },
        eventOptions(document),
      )
    })
  }

  async function stored(version: DocumentVersion): Promise<Text> {
    const found = await store.text(version)
    if (!found) throw documentNotFound(version.documentId) // erased meanwhile
    return { text: found.text, layout: decodeLayout(found.layout) }
  }

  return {
    async text(document, version) {
      if (version.extraction.state === 'unreadable')
        throw unreadable(version.extraction.failure, version.extraction.error)
      if (version.extraction.state === 'extracted') return stored(version)
      const key = `${version.documentId}/${version.number}`
      let work = running.get(key)
      if (!work) {
        work = runDetached(() => extract(document, version)).finally(() => running.delete(key))
        running.set(key, work)
      }
      return work
    },
  }
}

const unreadable = (failure: string, message: string): RpcError =>
  rpcError('DOCUMENT_UNREADABLE', message, { metadata: { failure } })

const eventOptions = ({ id, tenantId, ownerId }: Document) => ({
  aggregateType: 'document',
  aggregateId: id,
  tenantId,
  userId: ownerId,
})

function layoutOf(
  version: DocumentVersion,
  { text, pages, blocks, signals, properties, extractor }: Extracted,
): TextLayout {
  return {
    version: versionMessage(version),
    textSha256: createHash('sha256').update(text).digest('hex'),
    length: text.length,
    pages: pages.map(({ number, start, end, width = 0, height = 0 }) => ({
      number,
      start,
      end,
      width,
      height,
    })),
    blocks: blocks.map(({ kind, level = 0, start, end, page, box }) => ({
      kind,
      level,
      start,
      end,
      page,
      box,
    })),
    signals: signals.map(({ kind, detail, page = 0, start, end }) => ({ kind, detail, page, start, end })),
    properties: { ...properties },
    extractor,
    ocrConfidence: undefined,
  }
}
