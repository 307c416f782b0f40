import { AnalysisQueued } from '@docmesh/contracts/analysis/v1/events'
import type { Queryable } from '@docmesh/postgres'
import { type Page, type PageRequest, pageFrom, type RpcError, readPage, rpcError } from '@docmesh/rpc'
import { type Analysis, type Caller, hasEnded, type Options } from './analysis.ts'
import { orderOptions, queuedEvent } from './analysis-events.ts'
import { createOrders, type Orders, type OrdersDeps } from './analysis-orders.ts'
import type { Changes } from './changes.ts'
import type { Documents } from './documents.ts'
import type { Packs } from './packs.ts'
import { patiently } from './patiently.ts'
import type { Finding } from './rules/findings.ts'
import type { AnalysisFilter } from './store.ts'
import type { Outlook } from './wire.ts'

/** An analysis to start without asking the document service: its first step looks for the document. */
export interface NewAnalysis {
  readonly documentId: string
  /** 0: the current one. */
  readonly documentVersion: number
  readonly options: Options
  readonly batchId: string | undefined
  readonly tenantId: string
  readonly requestedBy: string
}

export interface Analyses extends Orders {
  /** Throws DOCUMENT_NOT_FOUND or UNKNOWN_RULE_PACK. */
  start(
    documentId: string,
    documentVersion: number,
    options: Options,
    requestId: string,
    caller: Caller,
  ): Promise<Analysis>
  /**
   * Starts it if and when the transaction commits. Throws before it writes anything: DOCUMENT_NOT_FOUND for an id that is
   * none, UNKNOWN_RULE_PACK.
   */
  startIn(tx: Queryable, wanted: NewAnalysis): Promise<Analysis>
  /** A new analysis of the same text. Throws ANALYSIS_NOT_ENDED or UNKNOWN_RULE_PACK. */
  rerun(id: string, rulePacks: readonly string[], requestId: string, caller: Caller): Promise<Analysis>
  get(id: string, caller: Caller): Promise<Analysis>
  list(filter: AnalysisFilter, page: PageRequest, caller: Caller): Promise<Page<Analysis>>
  /** Of a completed analysis. Throws ANALYSIS_NOT_COMPLETED. */
  findings(id: string, caller: Caller): Promise<{ analysis: Analysis; findings: readonly Finding[] }>
  /** The state now and after every change, until the analysis has ended. */
  watch(id: string, caller: Caller, signal: AbortSignal): AsyncIterable<Analysis>
  outlook(analysis: Analysis): Promise<Outlook>
}

export interface AnalysesDeps extends Omit<OrdersDeps, 'find'> {
  readonly changes: Changes
  readonly documents: Documents
  readonly packs: Packs
  readonly ids: () => string
}

/** Lower case, as ids are given out: they name aggregates and notifications too, where case would tell two apart. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const isId = (value: string): boolean => UUID.test(value)

export function createAnalyses({ changes, documents, packs, ids, ...deps }: AnalysesDeps): Analyses {
  const { store, workflows, pipeline, estimates, publish, clock } = deps

  async function find(on: Queryable, id: string, { tenantId }: Pick<Caller, 'tenantId'>): Promise<Analysis> {
    const analysis = isId(id) ? await store.get(on, tenantId, id) : undefined
    if (!analysis) throw notFound(id)
    return analysis
  }
  const get = (id: string, caller: Caller): Promise<Analysis> => find(store, id, caller)

  const fresh = (wanted: NewAnalysis): Analysis => ({
    ...wanted,
    id: ids(),
    documentName: '',
    rerunOf: undefined,
    rulePacks: [],
    state: 'queued',
    steps: [],
    progress: 0,
    textSha256: undefined,
    outcome: undefined,
    failure: undefined,
    createdAt: clock(),
    startedAt: undefined,
    endedAt: undefined,
  })

  const startRun = async (tx: Queryable, { id, tenantId: tenant, options }: Analysis): Promise<void> => {
    await workflows.start(pipeline, null, { id, tenant, priority: options.priority, tx })
  }

  /** Undefined when the tenant has used the key before. */
  async function insert(
    tx: Queryable,
    analysis: Analysis,
    key: string,
    caller: Caller,
    run = startRun,
  ): Promise<Analysis | undefined> {
    if (!(await store.insert(tx, analysis, key))) return undefined
    await run(tx, analysis)
    const position = await store.queuePosition(tx, analysis.id)
    const event = queuedEvent(analysis, position, estimates.remainingMs(analysis, position))
    await publish(tx, AnalysisQueued, event, orderOptions(analysis.id, caller))
    return find(tx, analysis.id, caller)
  }

  /** The analysis that was made with the key first. */
  async function insertOnce(
    analysis: Analysis,
    key: string,
    caller: Caller,
    run = startRun,
  ): Promise<Analysis> {
    const inserted = await store.transaction((tx) => insert(tx, analysis, key, caller, run))
    const first = inserted ?? (await store.byRequest(store, caller.tenantId, key))
    if (!first) throw notFound(analysis.id)
    return first
  }

  function checkPacks({ rulePacks }: Options): void {
    for (const name of rulePacks) packs.find(name)
  }

  return {
    ...createOrders({ ...deps, find }),
    get,
    async start(documentId, documentVersion, options, requestId, caller) {
      const before = requestId ? await store.byRequest(store, caller.tenantId, requestId) : undefined
      if (before) return before
      checkPacks(options)
      if (!isId(documentId)) throw documentNotFound(documentId)
      const { name, version } = await documents.head(documentId, documentVersion)
      const { tenantId, userId: requestedBy } = caller
      const wanted = {
        documentId,
        documentVersion: version,
        options,
        batchId: undefined,
        tenantId,
        requestedBy,
      }
      return insertOnce({ ...fresh(wanted), documentName: name }, requestId, caller)
    },
    async startIn(tx, wanted) {
      checkPacks(wanted.options)
      if (!isId(wanted.documentId)) throw documentNotFound(wanted.documentId)
      const analysis = fresh(wanted)
      const { batchId = analysis.id, tenantId, requestedBy: userId } = wanted
      return (await insert(tx, analysis, '', { userId, tenantId, requestId: batchId })) ?? analysis
    },
    async rerun(id, rulePacks, requestId, caller) {
      const first = await get(id, caller)
      const key = requestId && `${id}/${requestId}`
      const before = key ? await store.byRequest(store, caller.tenantId, key) : undefined
      if (before) return before
      if (!hasEnded(first))
        throw rpcError('ANALYSIS_NOT_ENDED', `Analysis "${id}" is ${first.state}: wait until it has ended.`)
      const newest = first.options.rulePacks.map((name) => name.replace(/@.*/, ''))
      const options = { ...first.options, rulePacks: rulePacks.length > 0 ? rulePacks : newest }
      checkPacks(options)
      const { documentId, documentVersion, documentName, textSha256, tenantId } = first
      const wanted = { documentId, documentVersion, options, batchId: undefined, tenantId }
      const again = { ...fresh({ ...wanted, requestedBy: caller.userId }), documentName, rerunOf: id }
      // Runs are not kept for ever: without the first one all steps are done anew.
      if (!(await workflows.get(id))) return insertOnce(again, key, caller)
      return insertOnce({ ...again, textSha256 }, key, caller, async (tx) => {
        const fork = await workflows.fork(id, {
          id: again.id,
          fromStep: 'rules',
          priority: options.priority,
          tx,
        })
        if (!fork) await startRun(tx, again)
      })
    },
    async list(filter, page, { tenantId }) {
      const { size, after } = readPage(page, isId)
      const { documentId, batchId } = filter
      if ((documentId && !isId(documentId)) || (batchId && !isId(batchId)))
        return { items: [], nextPageToken: '' }
      return pageFrom(await store.list(tenantId, filter, after, size), size, ({ id }) => id)
    },
    async findings(id, caller) {
      const analysis = await get(id, caller)
      if (analysis.state !== 'completed') throw notCompleted(analysis)
      return { analysis, findings: await store.findings(store, id) }
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
    async outlook(analysis) {
      const queuePosition = analysis.state === 'queued' ? await store.queuePosition(store, analysis.id) : 0
      return { queuePosition, remainingMs: estimates.remainingMs(analysis, queuePosition) }
    },
  }
}

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
