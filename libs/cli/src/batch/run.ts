import { setTimeout as delay } from 'node:timers/promises'
import type { Analysis } from '@docmesh/contracts/analysis/v1/analysis'
import type { Batch, BatchHeader, CreateBatchRequest } from '@docmesh/contracts/analysis/v1/batch'
import { Code, currentCall, RpcError } from '@docmesh/rpc'
import type { MeshSession } from '../mesh-session.ts'

type Batches = MeshSession['batches']

const MAX_ATTEMPTS = 5
/** Without news: time for an instance to be replaced. */
const PATIENCE_MS = 60_000
const MAX_PAUSE_MS = 5_000
const RETRY_MS = 250
const PAGE_SIZE = 500

const isPassing = (error: unknown): error is RpcError =>
  error instanceof RpcError && error.code === Code.UNAVAILABLE && !currentCall()?.signal.aborted

/** Makes the batch; a stream that breaks is sent again, which the request id makes harmless. */
export async function createBatch(
  batches: Batches,
  header: BatchHeader,
  documentIds: readonly string[],
): Promise<Batch> {
  for (let attempt = 1; ; attempt++) {
    try {
      return present((await batches.createBatch(parts(header, documentIds))).batch)
    } catch (error) {
      if (!isPassing(error) || attempt === MAX_ATTEMPTS) throw error
    }
    await delay(RETRY_MS * attempt)
  }
}

async function* parts(
  header: BatchHeader,
  documentIds: readonly string[],
): AsyncIterable<CreateBatchRequest> {
  yield { part: { $case: 'header', value: header } }
  for (const value of documentIds) yield { part: { $case: 'documentId', value } }
}

/** Follows a batch to its end, over restarts of the instance that tells of it. */
export async function watchBatch(
  batches: Batches,
  batchId: string,
  onNews: (batch: Batch) => void,
): Promise<Batch> {
  for (let newsMs = performance.now(); ; ) {
    let pauseMs = RETRY_MS
    try {
      for await (const { batch } of batches.watchBatch({ batchId })) {
        if (!batch) continue
        newsMs = performance.now()
        onNews(batch)
        if (batch.endedAt) return batch
      }
    } catch (error) {
      if (!isPassing(error) || performance.now() - newsMs > PATIENCE_MS) throw error
      pauseMs = Math.max(pauseMs, error.options.retryAfterMs ?? 0)
    }
    await delay(Math.min(pauseMs, MAX_PAUSE_MS), undefined, { signal: currentCall()?.signal })
  }
}

/** The analyses of a batch by document; of one that has several the newest. */
export async function analysesOf(
  analyses: MeshSession['analyses'],
  batchId: string,
): Promise<Map<string, Analysis>> {
  const byDocument = new Map<string, Analysis>()
  let pageToken = ''
  do {
    const page = await analyses.listAnalyses({ batchId, pageSize: PAGE_SIZE, pageToken })
    for (const analysis of page.analyses)
      if (!byDocument.has(analysis.documentId)) byDocument.set(analysis.documentId, analysis)
    pageToken = page.nextPageToken
  } while (pageToken !== '')
  return byDocument
}

export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('The service answered without the batch.')
  return value
}
