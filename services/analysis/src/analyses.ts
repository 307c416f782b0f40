import { setTimeout as delay } from 'node:timers/promises'
import { Priority } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisCancelled, AnalysisQueued } from '@docmesh/contracts/analysis/v1/events'
import type { Publish } from '@docmesh/events'
import type { Queryable } from '@docmesh/postgres'
import { type Page, type PageRequest, pageFrom, type RpcError, readPage, rpcError } from '@docmesh/rpc'
import { type Analysis, type Caller, hasEnded, newSteps, type Options } from './analysis.ts'
import type { Changes } from './changes.ts'
import type { Documents } from './documents.ts'
import type { Packs } from './packs.ts'
import type { Finding } from './rules/findings.ts'
import type { AnalysisFilter, AnalysisStore } from './store.ts'

export interface Analyses {
  start(
    documentId: string,
    documentVersion: number,
    options: Options,
    requestId: string,
    caller: Caller,
  ): Promise<Analysis>
  get(id: string, caller: Caller): Promise<Analysis>
  list(filter: AnalysisFilter, page: PageRequest, caller: Caller): Promise<Page<Analysis>>
  /** Of a completed analysis. Throws ANALYSIS_NOT_COMPLETED. */
  findings(id: string, caller: Caller): Promise<{ analysis: Analysis; findings: readonly Finding[] }>
  /** The state now and after every change, until the analysis has ended. */
  watch(id: string, caller: Caller, signal: AbortSignal): AsyncIterable<Analysis>
  queuePosition(analysis: Analysis): Promise<number>
  cancel(id: string, reason: string, caller: Caller): Promise<Analysis>
  retry(id: string, caller: Caller): Promise<Analysis>
}

export interface AnalysesDeps {
  readonly store: AnalysisStore
  readonly changes: Changes
  readonly documents: Documents
  readonly packs: Packs
  readonly publish: Publish
  readonly clock: () => Date
  readonly ids: () => string
}

/** Lower case, as ids are given out: they name aggregates and notifications too, where case would tell two apart. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const isId = (value: string): boolean => UUID.test(value)
const PRIORITIES = { low: Priority.LOW, normal: Priority.NORMAL, high: Priority.HIGH } as const

export function createAnalyses({
  store,
  changes,
  documents,
  packs,
  publish,
  clock,
  ids,
}: AnalysesDeps): Analyses {
  async function get(id: string, { tenantId }: Caller): Promise<Analysis> {
    const analysis = isId(id) ? await store.get(store, tenantId, id) : undefined
    if (!analysis) throw notFound(id)
    return analysis
  }

  /** Changes an analysis under its row lock; `change` returns undefined to leave it as it is. */
  async function transition(
    id: string,
    caller: Caller,
    change: (analysis: Analysis) => 'queued' | 'cancelled' | undefined,
    reason: string,
  ): Promise<Analysis> {
    if (!isId(id)) throw notFound(id)
    return store.transaction(async (tx) => {
      const analysis = await store.get(tx, caller.tenantId, id, { lock: true })
      if (!analysis) throw notFound(id)
      const state = change(analysis)
      if (!state) return analysis
      const steps = state === 'queued' ? newSteps() : analysis.steps
      const endedAt = state === 'cancelled' ? clock() : undefined
      await store.setState(tx, id, state, steps, endedAt ?? null)
      const { documentId } = analysis
      if (state === 'cancelled')
        await publish(tx, AnalysisCancelled, { analysisId: id, documentId, reason }, eventOptions(id, caller))
      else await publish(tx, AnalysisQueued, await queuedEvent(tx, analysis), eventOptions(id, caller))
      return { ...analysis, state, steps, endedAt, failure: undefined }
    })
  }

  async function queuedEvent(tx: Queryable, { id, documentId, options }: Analysis): Promise<AnalysisQueued> {
    return {
      analysisId: id,
      documentId,
      priority: PRIORITIES[options.priority],
      estimatedDuration: undefined,
      queuePosition: await store.queuePosition(tx, id),
    }
  }

  return {
    get,
    async start(documentId, documentVersion, options, requestId, caller) {
      const before = requestId ? await store.byRequest(store, caller.tenantId, requestId) : undefined
      if (before) return before
      for (const name of options.rulePacks) packs.find(name)
      if (!isId(documentId)) throw documentNotFound(documentId)
      const head = await documents.head(documentId, documentVersion)
      const now = clock()
      const analysis: Analysis = {
        id: ids(),
        tenantId: caller.tenantId,
        requestedBy: caller.userId,
        documentId,
        documentVersion: head.version,
        documentName: head.name,
        options,
        rulePacks: [],
        state: 'queued',
        steps: newSteps(),
        outcome: undefined,
        failure: undefined,
        createdAt: now,
        startedAt: undefined,
        endedAt: undefined,
      }
      const inserted = await store.transaction(async (tx) => {
        if (!(await store.insert(tx, analysis, requestId))) return false
        await publish(tx, AnalysisQueued, await queuedEvent(tx, analysis), eventOptions(analysis.id, caller))
        return true
      })
      const first = inserted ? analysis : await store.byRequest(store, caller.tenantId, requestId)
      if (!first) throw notFound(requestId)
      return first
    },
    async list(filter, page, { tenantId }) {
      const { size, after } = readPage(page, isId)
      if (filter.documentId && !isId(filter.documentId)) return { items: [], nextPageToken: '' }
      return pageFrom(await store.list(tenantId, filter, after, size), size, ({ id }) => id)
    },
    async findings(id, caller) {
      const analysis = await get(id, caller)
      if (analysis.state !== 'completed') throw notCompleted(analysis)
      return { analysis, findings: await store.findings(caller.tenantId, id) }
    },
    async *watch(id, caller, signal) {
      using subscription = changes.subscribe(id)
      for (;;) {
        const changed = subscription.next(signal)
        const analysis = await patiently(() => get(id, caller), signal)
        yield analysis
        if (hasEnded(analysis)) return
        await changed
        if (signal.aborted) return
      }
    },
    queuePosition: async ({ id, state }) => (state === 'queued' ? store.queuePosition(store, id) : 0),
    cancel: (id, reason, caller) =>
      transition(id, caller, (analysis) => (hasEnded(analysis) ? undefined : 'cancelled'), reason),
    retry: (id, caller) =>
      transition(
        id,
        caller,
        (analysis) => {
          if (analysis.state === 'queued' || analysis.state === 'running') return undefined
          if (analysis.state === 'failed') return 'queued'
          throw rpcError(
            'ANALYSIS_ENDED',
            `Analysis "${id}" is ${analysis.state}: only a failed one can be retried.`,
          )
        },
        '',
      ),
  }
}

const PATIENCE_MS = 5_000
const PATIENCE_STEP_MS = 200

/** A database that is away for a moment ends no watch. */
async function patiently<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let waitedMs = 0; ; waitedMs += PATIENCE_STEP_MS) {
    try {
      return await read()
    } catch (error) {
      const passing = error instanceof Error && error.name === 'DatabaseUnavailable' && waitedMs < PATIENCE_MS
      if (!passing) throw error
      await delay(PATIENCE_STEP_MS, undefined, { signal })
    }
  }
}

const eventOptions = (aggregateId: string, { userId, tenantId, requestId }: Caller) => ({
  aggregateType: 'analysis',
  aggregateId,
  correlationId: requestId,
  userId,
  tenantId,
})

const notFound = (id: string): RpcError =>
  rpcError('ANALYSIS_NOT_FOUND', `No analysis has the id "${id}".`, {
    resource: { type: 'analysis', name: id },
  })

const documentNotFound = (id: string): RpcError =>
  rpcError('DOCUMENT_NOT_FOUND', `No document has the id "${id}".`, {
    resource: { type: 'document', name: id },
  })

const notCompleted = ({ id, state, failure }: Analysis): RpcError =>
  rpcError(
    'ANALYSIS_NOT_COMPLETED',
    `Analysis "${id}" is ${state}${failure ? `: ${failure.message}` : ''}.`,
    { metadata: { state } },
  )
