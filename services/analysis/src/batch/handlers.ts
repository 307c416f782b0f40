import {
  type BatchHeader,
  type Batch as BatchMessage,
  type BatchServiceDefinition,
  BatchState,
  type CreateBatchRequest,
} from '@docmesh/contracts/analysis/v1/batch'
import { durationOf, type Handlers, invalidRequest, textFaults } from '@docmesh/rpc'
import { analysisMessage, optionsFrom, PRIORITIES } from '../wire.ts'
import { type Batch, DEFAULT_PARALLELISM, MAX_PARALLELISM, meanScore, remainingMs } from './batch.ts'
import { type Batches, isId, type NewBatch } from './batches.ts'

const SLICE = 500
const MAX_PACKS = 20
const STATES = {
  running: BatchState.RUNNING,
  completed: BatchState.COMPLETED,
  partial: BatchState.PARTIAL,
  failed: BatchState.FAILED,
  cancelled: BatchState.CANCELLED,
} as const

/** BatchService: wire ↔ domain. */
export function batchHandlers(
  batches: Batches,
  { clock }: { readonly clock: () => Date },
): Handlers<typeof BatchServiceDefinition> {
  const message = (batch: Batch) => batchMessage(batch, clock())
  return {
    async createBatch(requests, call) {
      const parts = requests[Symbol.asyncIterator]()
      try {
        const wanted = wantedOf(await headerOf(parts))
        return { batch: message(await batches.create(wanted, slicesOf(parts), call)) }
      } finally {
        await parts.return?.()
      }
    },
    async getBatch({ batchId }, call) {
      return { batch: message(await batches.get(batchId, call)) }
    },
    async listBatches(request, call) {
      const { items, nextPageToken } = await batches.list(request, call)
      return { batches: items.map(message), nextPageToken }
    },
    async *watchBatch({ batchId }, call) {
      for await (const { batch, ended } of batches.watch(batchId, call, call.signal))
        yield { batch: message(batch), ended: ended.map((analysis) => analysisMessage(analysis)) }
    },
    async cancelBatch({ batchId }, call) {
      return { batch: message(await batches.cancel(batchId, call)) }
    },
  }
}

async function headerOf(parts: AsyncIterator<CreateBatchRequest>): Promise<BatchHeader> {
  const { value, done } = await parts.next()
  if (done || value.part?.$case !== 'header')
    throw invalidRequest([{ field: 'header', description: 'send it first, before the documents' }])
  return value.part.value
}

function wantedOf({ requestId, name, options, parallelism }: BatchHeader): NewBatch {
  const wanted = optionsFrom(options)
  const faults = [
    {
      field: 'header.parallelism',
      fits: parallelism >= 0 && parallelism <= MAX_PARALLELISM,
      description: `write 0 to ${MAX_PARALLELISM}`,
    },
    {
      field: 'header.options.rule_packs',
      fits: wanted.rulePacks.length <= MAX_PACKS,
      description: `at most ${MAX_PACKS}`,
    },
  ].filter(({ fits }) => !fits)
  const texts = [...textFaults('header.request_id', requestId), ...textFaults('header.name', name)]
  if (texts.length + faults.length > 0) throw invalidRequest([...texts, ...faults])
  return { requestId, name, options: wanted, parallelism: parallelism || DEFAULT_PARALLELISM }
}

async function* slicesOf(parts: AsyncIterator<CreateBatchRequest>): AsyncIterable<readonly string[]> {
  let slice: string[] = []
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    slice.push(documentIdOf(next.value))
    if (slice.length < SLICE) continue
    yield slice
    slice = []
  }
  if (slice.length > 0) yield slice
}

function documentIdOf({ part }: CreateBatchRequest): string {
  if (part?.$case === 'header')
    throw invalidRequest([{ field: 'header', description: 'send it once, as the first message' }])
  if (part === undefined || !isId(part.value))
    throw invalidRequest([
      { field: 'document_id', description: `"${part?.value ?? ''}" is not the id of a document` },
    ])
  return part.value
}

function batchMessage(batch: Batch, now: Date): Partial<BatchMessage> {
  const { id, name, total, completed, failed, cancelled, createdAt, endedAt, options } = batch
  const leftMs = remainingMs(batch, now)
  return {
    id,
    name,
    options: {
      rulePacks: [...options.rulePacks],
      locale: options.locale,
      priority: PRIORITIES[options.priority],
      aiEnabled: options.aiEnabled,
      notify: options.notify,
      unmaskPersonalData: options.unmask,
    },
    state: STATES[batch.state],
    total,
    completed,
    failed,
    cancelled,
    meanScore: meanScore(batch),
    estimatedRemaining: leftMs === undefined ? undefined : durationOf(leftMs),
    createdAt,
    endedAt,
  }
}
