import { BatchCompleted } from '@docmesh/contracts/analysis/v1/events'
import type { Publish } from '@docmesh/events'
import type { Queryable } from '@docmesh/postgres'
import { type Page, type PageRequest, pageFrom, RpcError, readPage, rpcError } from '@docmesh/rpc'
import type { Analysis, Caller, Options } from '../analysis.ts'
import type { Changes } from '../changes.ts'
import type { Packs } from '../packs.ts'
import {
  type Batch,
  counted,
  type Ended,
  endOf,
  finished,
  freePlaces,
  isDone,
  MAX_DOCUMENTS,
  meanScore,
  withdrawn,
  withoutWaiting,
} from './batch.ts'
import type { BatchStore } from './store.ts'
import { type BatchNews, watchBatch } from './watch.ts'

/** What a batch needs of the analyses. */
export interface ChildAnalyses {
  /**
   * Stores and starts one in the transaction; that its document is missing shows when it runs. Throws UNKNOWN_RULE_PACK before
   * it writes anything.
   */
  startIn(
    tx: Queryable,
    wanted: {
      readonly documentId: string
      /** 0 is the current one. */
      readonly documentVersion: number
      readonly options: Options
      readonly batchId: string
      readonly tenantId: string
      readonly requestedBy: string
    },
  ): Promise<Pick<Analysis, 'id'>>
  /** Leaves an ended one as it is. Throws ANALYSIS_NOT_FOUND. */
  cancelIn(tx: Queryable, id: string, reason: string, caller: Caller): Promise<unknown>
  /** Throws ANALYSIS_NOT_FOUND. */
  get(id: string, caller: Caller): Promise<Analysis>
}

/** An analysis that may belong to a batch. */
export type BatchedAnalysis = Pick<Analysis, 'id' | 'state' | 'outcome'> & {
  readonly batchId: string | undefined
}

export interface NewBatch {
  /** Repeating it continues the same batch; empty for none. */
  readonly requestId: string
  readonly name: string
  readonly options: Options
  readonly parallelism: number
}

export interface Batches {
  /**
   * Adds the documents, slice by slice, and starts the first analyses when all are there. A stream that breaks leaves what
   * came for a repetition with its request id within a day; one that is wrong leaves nothing. Throws UNKNOWN_RULE_PACK, EMPTY_BATCH,
   * BATCH_TOO_LARGE, and BATCH_CLOSED for a new document in a batch that was complete before.
   */
  create(
    wanted: NewBatch,
    slices: AsyncIterable<readonly string[]>,
    caller: Caller & { readonly signal: AbortSignal },
  ): Promise<Batch>
  get(id: string, caller: Caller): Promise<Batch>
  list(page: PageRequest, caller: Caller): Promise<Page<Batch>>
  /** The batch now and after changes, with the analyses that ended since, until it has ended. */
  watch(id: string, caller: Caller, signal: AbortSignal): AsyncIterable<BatchNews>
  cancel(id: string, caller: Caller): Promise<Batch>
  /** In the transaction in which any analysis completes, fails or is cancelled: starts the next, or ends its batch. */
  onEnded(tx: Queryable, analysis: BatchedAnalysis): Promise<void>
  /** Removes what streams left that broke a day ago; to be called now and then. */
  sweep(): Promise<void>
  /** The analyses of this document will never end: in their batches they count as cancelled. */
  onErased(tx: Queryable, documentId: string): Promise<void>
}

export interface BatchDeps {
  readonly store: BatchStore
  readonly changes: Changes
  readonly analyses: ChildAnalyses
  readonly packs: Packs
  readonly publish: Publish
  readonly clock: () => Date
  readonly ids: () => string
}

/** Lower case, as ids are given out. */
export const isId = (value: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)

/**
 * A batch keeps a window of its documents running. Whoever ends one of them counts it and starts the next in the same
 * transaction, under the lock of the batch's row: so each end counts once, and the last one ends the batch once. An analysis
 * is always locked before its batch, never after it.
 */
export function createBatches({ store, changes, analyses, packs, publish, clock, ids }: BatchDeps): Batches {
  async function get(id: string, { tenantId }: Caller): Promise<Batch> {
    const batch = isId(id) ? await store.get(tenantId, id) : undefined
    if (!batch) throw notFound(id)
    return batch
  }

  /** Changes a batch under its lock. */
  const change = (id: string, work: (tx: Queryable, batch: Batch) => Promise<Batch>): Promise<Batch> =>
    store.transaction(async (tx) => {
      const batch = await store.lock(tx, id)
      if (!batch) throw notFound(id)
      return work(tx, batch)
    })

  const add = (id: string, documentIds: readonly string[]): Promise<Batch> =>
    change(id, async (tx, batch) => {
      const total = batch.total + (await store.add(tx, batch, documentIds))
      if (total === batch.total) return batch
      if (batch.closedAt) throw closed(batch)
      if (total > MAX_DOCUMENTS) throw tooLarge()
      const grown = { ...batch, total }
      await store.save(tx, grown)
      return grown
    })

  const close = (id: string, signal: AbortSignal): Promise<Batch> =>
    change(id, async (tx, batch) => {
      if (batch.closedAt) return batch
      if (batch.total === 0) throw rpcError('EMPTY_BATCH', 'The batch has no document.')
      const next = await proceed(tx, { ...batch, closedAt: clock() })
      signal.throwIfAborted()
      return next
    })

  /** Starts what may start, ends the batch when nothing is left, and saves it. */
  async function proceed(tx: Queryable, batch: Batch): Promise<Batch> {
    const started = await startNext(tx, batch)
    const ends = isDone(started) && !started.endedAt
    const next = ends ? finished(started, clock()) : started
    await store.save(tx, next)
    if (ends) await publish(tx, BatchCompleted, completedEvent(next), eventOptions(next))
    return next
  }

  async function startNext(tx: Queryable, batch: Batch): Promise<Batch> {
    const places = freePlaces(batch)
    if (places === 0) return batch
    const { id: batchId, tenantId, requestedBy } = batch
    // The user hears of the batch as a whole.
    const options = { ...batch.options, notify: false }
    let next = batch
    for (const { position, documentId } of await store.turns(tx, batch, places)) {
      const wanted = { documentId, documentVersion: 0, options, batchId, tenantId, requestedBy }
      try {
        const { id } = await analyses.startIn(tx, wanted)
        await store.setRunning(tx, batchId, position, id)
      } catch (error) {
        if (!(error instanceof RpcError)) throw error
        // A rule pack is gone: all that waits would fail like this one, and whoever has just ended must not fail with it.
        await store.endWaiting(tx, next, 'failed')
        return withoutWaiting(next, 'failed')
      }
      next = { ...next, started: position }
    }
    return next
  }

  async function settle(tx: Queryable, batchId: string, analysisId: string, end: Ended): Promise<void> {
    const batch = await store.lock(tx, batchId)
    const child = batch && (await store.child(tx, batchId, analysisId))
    if (!child) return
    const next = counted(batch, end, child.before)
    await store.setEnded(tx, child, end, next.ends)
    await proceed(tx, next)
  }

  return {
    get,
    async create(wanted, slices, caller) {
      const { requestId, name, options, parallelism } = wanted
      for (const pack of options.rulePacks) packs.find(pack)
      const fresh = newBatch({ id: ids(), name, options, parallelism }, caller, clock())
      const { id } = await store.open(fresh, requestId)
      try {
        for await (const documentIds of slices) await add(id, documentIds)
        return await close(id, caller.signal)
      } catch (error) {
        const broken = caller.signal.aborted || !(error instanceof RpcError)
        if (!broken || !requestId) await store.discard(id)
        throw error
      }
    },
    async list(page, { tenantId }) {
      const { size, after } = readPage(page, isId)
      return pageFrom(await store.list(tenantId, after, size), size, ({ id }) => id)
    },
    watch: (id, caller, signal) =>
      watchBatch({
        id,
        signal,
        changes,
        store,
        get: () => get(id, caller),
        analysis: (analysisId) => analyses.get(analysisId, caller).catch(unlessErased),
      }),
    sweep: () => store.discardStale(),
    async cancel(id, caller) {
      await get(id, caller)
      await change(id, async (tx, batch) => {
        if (batch.endedAt || batch.state === 'cancelled') return batch
        await store.endWaiting(tx, batch, 'cancelled')
        return proceed(tx, withdrawn(batch, clock()))
      })
      for (const analysisId of await store.underWay(id))
        await store
          .transaction((tx) => analyses.cancelIn(tx, analysisId, 'the batch was cancelled', caller))
          .catch(unlessErased)
      return get(id, caller)
    },
    async onEnded(tx, analysis) {
      const end = endOf(analysis)
      if (analysis.batchId && end) await settle(tx, analysis.batchId, analysis.id, end)
    },
    async onErased(tx, documentId) {
      for (const { batchId, analysisId } of await store.runningOf(tx, documentId))
        await settle(tx, batchId, analysisId, { state: 'cancelled', score: undefined })
    },
  }
}

/** Of an analysis that was erased its batch hears by itself. */
function unlessErased(error: unknown): undefined {
  if (error instanceof RpcError && error.reason === 'ANALYSIS_NOT_FOUND') return undefined
  throw error
}

const newBatch = (
  wanted: Pick<Batch, 'id' | 'name' | 'options' | 'parallelism'>,
  { tenantId, userId }: Caller,
  createdAt: Date,
): Batch => ({
  ...wanted,
  tenantId,
  requestedBy: userId,
  state: 'running',
  total: 0,
  started: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  scored: 0,
  scoreSum: 0,
  ends: 0,
  createdAt,
  closedAt: undefined,
  endedAt: undefined,
})

const completedEvent = (batch: Batch): BatchCompleted => ({
  batchId: batch.id,
  name: batch.name,
  total: batch.total,
  completed: batch.completed,
  failed: batch.failed,
  cancelled: batch.cancelled,
  meanScore: meanScore(batch),
  requestedBy: batch.requestedBy,
  notify: batch.options.notify,
  locale: batch.options.locale,
})

const eventOptions = ({ id, tenantId, requestedBy }: Batch) => ({
  aggregateType: 'batch',
  aggregateId: id,
  correlationId: id,
  tenantId,
  userId: requestedBy,
})

const notFound = (id: string): RpcError =>
  rpcError('BATCH_NOT_FOUND', `No batch has the id "${id}".`, {
    resource: { type: 'batch', name: id },
  })

const closed = ({ id, state }: Batch): RpcError =>
  rpcError('BATCH_CLOSED', `Batch "${id}" takes no more documents.`, { metadata: { state } })

const tooLarge = (): RpcError =>
  rpcError('BATCH_TOO_LARGE', `A batch takes up to ${MAX_DOCUMENTS} documents.`, {
    quota: { subject: 'documents of a batch', description: `at most ${MAX_DOCUMENTS}` },
  })
