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

/** What clients take as one message is 16 MiB; the rest is for what goes around the layout. */
const MAX_LAYOUT_BYTES = 16 * 1024 * 1024 - 1024

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
    const before = await latest(version) // since the caller looked
    if (before) return before
    const begun = performance.now()
    const observe = (outcome: 'extracted' | 'unreadable' | 'failure'): void =>
      seconds.observe({ media_type: version.mediaType, outcome }, (performance.now() - begun) / 1_000)
    let result: Result
    try {
      const input = {
        path: blobs.path(version.sha256),
        fileName: document.name,
        mediaType: version.mediaType,
      }
      result = resultOf(version, await pool.extract(input))
    } catch (error) {
      if (!(await store.version(store, version.documentId, version.number)))
        throw documentNotFound(version.documentId) // erased meanwhile
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
    observe('extracted')
    return saveText(document, version, result)
  }

  async function saveText(document: Document, version: DocumentVersion, result: Result): Promise<Text> {
    const { layout, encoded, text, pageCount, language } = result
    const saved = await store.transaction(async (tx) => {
      // First of all: readers get events in the order in which their transactions began to write.
      if (!(await store.lock(tx, document.id))) return false
      if (!(await store.saveText(tx, version, { text, layout: encoded }, pageCount, language))) return false
      const event = { documentId: document.id, version: version.number, pageCount, length: text.length }
      await publish(tx, DocumentTextExtracted, event, eventOptions(document))
      return true
    })
    const kept = saved ? { layout, text } : await latest(version) // another instance was first
    if (!kept) throw documentNotFound(version.documentId)
    return kept
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

  /** What has been found of the version; undefined while nobody has read it. */
  async function known(version: DocumentVersion): Promise<Text | undefined> {
    const { extraction } = version
    if (extraction.state === 'unreadable') throw unreadable(extraction.failure, extraction.error)
    return extraction.state === 'extracted' ? stored(version) : undefined
  }

  async function latest({ documentId, number }: DocumentVersion): Promise<Text | undefined> {
    const version = await store.version(store, documentId, number)
    if (!version) throw documentNotFound(documentId) // erased meanwhile
    return known(version)
  }

  return {
    async text(document, version) {
      const kept = await known(version)
      if (kept) return kept
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

interface Result extends Text {
  readonly encoded: Uint8Array
  readonly pageCount: number
  readonly language: string
}

/** Throws ExtractionError for a layout that no client would take: it travels as one message. */
function resultOf(version: DocumentVersion, extracted: Extracted): Result {
  const pageCount = extracted.pages.length
  const language = extracted.properties.language ?? ''
  const done: DocumentVersion = { ...version, extraction: { state: 'extracted', pageCount, language } }
  const layout = layoutOf(done, extracted)
  const encoded = encodeLayout(layout)
  if (encoded.length > MAX_LAYOUT_BYTES)
    throw new ExtractionError('too_large', `more than ${MAX_LAYOUT_BYTES} bytes of layout`)
  return { layout, encoded, text: extracted.text, pageCount, language }
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
