import { type Analysis, AnalysisState, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import {
  type Batch,
  type BatchHeader,
  BatchState,
  type CreateBatchRequest,
} from '@docmesh/contracts/analysis/v1/batch'
import { rpcError } from '@docmesh/rpc'
import type { TestServices } from '../testing.fixture.ts'

interface Upload {
  readonly name: string
  readonly requestId: string
  readonly documentId: string
  readonly content: string
}

interface StoredBatch {
  readonly id: string
  readonly header: BatchHeader
  readonly documentIds: string[]
  cancelled: boolean
}

export interface BatchWorldOptions {
  /** Called when so many uploads are stored, before the last one is answered. */
  readonly onUpload?: (count: number) => void
  /** Called with each new batch, before it is answered. */
  readonly onCreate?: (times: number) => void
  /** The batch ends when what this returns resolves; `signal` is that of the watch. */
  readonly untilEnd?: (signal: AbortSignal) => Promise<void>
}

const PAGE = 2

/**
 * Document and batch service in memory, on which several command lines can run one after the other. A document that says
 * `score N` gets it, any other fails as unreadable; a name that begins with `refuse` is refused.
 */
export function batchWorld({ onUpload, onCreate, untilEnd = async () => {} }: BatchWorldOptions = {}) {
  const uploads: Upload[] = []
  const batches: StoredBatch[] = []
  let asked = 0
  let created = 0

  const byId = (batchId: string): StoredBatch => {
    const found = batches.find(({ id }) => id === batchId)
    if (!found) throw rpcError('BATCH_NOT_FOUND', `No batch has the id "${batchId}".`)
    return found
  }
  const analysisOf = (documentId: string): Partial<Analysis> => {
    const { content = '', name = '' } = uploads.find((upload) => upload.documentId === documentId) ?? {}
    const [, score] = /score (\d+)/.exec(content) ?? []
    const about = { id: documentId.replace('d', 'a'), documentId, documentName: name }
    if (score === undefined) {
      const failure = {
        step: 'extract',
        reason: 'DOCUMENT_UNREADABLE',
        message: 'The file is encrypted.',
        retryable: false,
      }
      return { ...about, state: AnalysisState.FAILED, failure }
    }
    const verdict = Number(score) < 50 ? Verdict.FAIL : Verdict.PASS
    const result = { score: Number(score), verdict, ledger: [], coverage: undefined, counts: undefined }
    return { ...about, state: AnalysisState.COMPLETED, result }
  }
  const ended = ({ id, header, documentIds, cancelled }: StoredBatch): Partial<Batch> => {
    const analyses = cancelled ? [] : documentIds.map(analysisOf)
    const scores = analyses.flatMap(({ result }) => result?.score ?? [])
    const total = documentIds.length
    const failed = analyses.length - scores.length
    return {
      id,
      name: header.name,
      state: cancelled
        ? BatchState.CANCELLED
        : failed === 0
          ? BatchState.COMPLETED
          : scores.length > 0
            ? BatchState.PARTIAL
            : BatchState.FAILED,
      total,
      completed: scores.length,
      failed,
      cancelled: cancelled ? total : 0,
      meanScore: scores.length > 0 ? scores.reduce((sum, each) => sum + each, 0) / scores.length : undefined,
      createdAt: new Date('2026-05-04T03:02:01Z'),
      endedAt: new Date(),
    }
  }

  const services: TestServices = {
    documents: {
      async uploadDocument(requests) {
        asked++
        let name = ''
        let requestId = ''
        const chunks: Uint8Array[] = []
        for await (const { part } of requests) {
          if (part?.$case === 'metadata') ({ name, requestId } = part.value)
          else if (part) chunks.push(part.value)
        }
        if (name.startsWith('refuse'))
          throw rpcError('UNSUPPORTED_TYPE', 'This type of file is not supported.')
        let upload = uploads.find((each) => each.requestId === requestId)
        if (!upload) {
          const content = Buffer.concat(chunks).toString()
          upload = { name, requestId, documentId: `d-${uploads.length + 1}`, content }
          uploads.push(upload)
          onUpload?.(uploads.length)
        }
        return { document: { id: upload.documentId, currentVersion: { number: 1 } } }
      },
    },
    batches: {
      async createBatch(requests) {
        const { header, documentIds } = await received(requests)
        if (header.options?.rulePacks.includes('no.such'))
          throw rpcError('UNKNOWN_RULE_PACK', 'No rule pack is called "no.such".')
        let batch = batches.find((each) => each.header.requestId === header.requestId)
        if (!batch) {
          batch = { id: `b-${batches.length + 1}`, header, documentIds, cancelled: false }
          batches.push(batch)
        }
        created++
        onCreate?.(created)
        return { batch: { ...ended(batch), state: BatchState.RUNNING, endedAt: undefined } }
      },
      async *watchBatch({ batchId }, { signal }) {
        const batch = byId(batchId)
        const total = batch.documentIds.length
        yield { batch: { id: batchId, state: BatchState.RUNNING, total } }
        await untilEnd(signal)
        yield { batch: ended(batch) }
      },
      getBatch: async ({ batchId }) => ({ batch: ended(byId(batchId)) }),
      async listBatches({ pageToken }) {
        const from = Number(pageToken)
        const nextPageToken = batches.length > from + PAGE ? String(from + PAGE) : ''
        return { batches: batches.slice(from, from + PAGE).map(ended), nextPageToken }
      },
      async cancelBatch({ batchId }) {
        const batch = byId(batchId)
        batch.cancelled = true
        return { batch: ended(batch) }
      },
    },
    analyses: {
      async listAnalyses({ batchId, pageToken }) {
        const { documentIds, cancelled } = byId(batchId)
        const from = Number(pageToken)
        const nextPageToken = documentIds.length > from + PAGE ? String(from + PAGE) : ''
        const analyses = cancelled ? [] : documentIds.slice(from, from + PAGE).map(analysisOf)
        return { analyses, nextPageToken }
      },
    },
  }
  return {
    services,
    uploads,
    batches,
    /** Uploads that were begun, also those that ended in vain. */
    asked: () => asked,
    created: () => created,
  }
}

async function received(
  requests: AsyncIterable<CreateBatchRequest>,
): Promise<{ header: BatchHeader; documentIds: string[] }> {
  let header: BatchHeader | undefined
  const documentIds: string[] = []
  for await (const { part } of requests) {
    if (part?.$case === 'header') header = part.value
    else if (part) documentIds.push(part.value)
  }
  if (!header) throw rpcError('INVALID_REQUEST', 'No header came.')
  return { header, documentIds }
}
