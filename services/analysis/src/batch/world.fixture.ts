import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { BatchServiceDefinition, type CreateBatchRequest } from '@docmesh/contracts/analysis/v1/batch'
import { connectEvents } from '@docmesh/events'
import { openPostgres, type Queryable } from '@docmesh/postgres'
import {
  type Client,
  createClient,
  grpcJsClient,
  grpcJsServer,
  implement,
  routesOf,
  rpcError,
  sendOver,
} from '@docmesh/rpc'
import type { Analysis } from '../analysis.ts'
import { openChanges } from '../changes.ts'
import { openPacks } from '../packs.ts'
import { type ChildAnalyses, createBatches } from './batches.ts'
import { subscribeBatchErasure } from './erasure.ts'
import { batchHandlers } from './handlers.ts'
import { batchStore } from './store.ts'

export type BatchWorld = Awaited<ReturnType<typeof startBatchWorld>>
export type BatchClient = Client<typeof BatchServiceDefinition>
type End = 'completed' | 'failed' | 'cancelled'

interface Row {
  id: string
  tenant_id: string
  batch_id: string
  document_id: string
  options: Analysis['options']
  state: Analysis['state']
  score: number | null
}

const analysisOf = ({ id, tenant_id, batch_id, document_id, options, state, score }: Row): Analysis => ({
  id,
  tenantId: tenant_id,
  requestedBy: 'ana',
  documentId: document_id,
  documentVersion: 1,
  documentName: '',
  batchId: batch_id,
  rerunOf: undefined,
  options,
  rulePacks: [],
  state,
  steps: [],
  progress: 0,
  textSha256: undefined,
  outcome:
    state === 'completed'
      ? {
          score,
          verdict: 'pass',
          ledger: [],
          coverage: {
            rulesRun: [],
            rulesNotApplicable: [],
            rulesSkipped: [],
            pagesRead: 1,
            pages: 1,
            pagesWithoutText: [],
            words: 0,
            language: 'pt',
          },
          counts: { critical: 0, high: 0, medium: 0, low: 0 },
          source: { sha256: '', mediaType: '' },
        }
      : undefined,
  failure: undefined,
  createdAt: new Date(),
  startedAt: undefined,
  endedAt: undefined,
})

/**
 * BatchService on a real port and database. Its analyses are rows that end when a test says so, in a transaction that locks
 * the row first, as the pipeline does.
 */
export async function startBatchWorld(databaseUrl: string, { poolMax = 10 } = {}) {
  const stack = new AsyncDisposableStack()
  const migrations = new URL('../../migrations', import.meta.url)
  const db = stack.use(await openPostgres({ url: databaseUrl, schema: 'analysis', migrations, poolMax }))
  await db.query(`create table if not exists children (id uuid primary key, tenant_id text, batch_id uuid, document_id uuid,
    options jsonb, state text, score int, started bigserial)`)
  const events = stack.use(await connectEvents({ db, pollMs: 100 }))
  const store = batchStore(db)
  const changes = await openChanges(store)
  stack.defer(() => changes.close())
  const packs = await openPacks(fileURLToPath(new URL('../../packs', import.meta.url)))

  let packsAreGone = false
  async function lockChild(tx: Queryable, id: string): Promise<Analysis | undefined> {
    const [row] = await tx.query<Row>('select * from children where id = $1 for update', [id])
    return row && analysisOf(row)
  }
  async function endIn(tx: Queryable, id: string, state: End, score?: number): Promise<void> {
    const [row] = await tx.query<Row>(
      'update children set state = $2, score = $3 where id = $1 returning *',
      [id, state, score ?? null],
    )
    if (row) await batches.onEnded(tx, analysisOf(row))
  }
  const analyses: ChildAnalyses = {
    async startIn(tx, { documentId, options, batchId, tenantId }) {
      if (packsAreGone) throw rpcError('UNKNOWN_RULE_PACK', 'No rule pack is called so.')
      const id = randomUUIDv7()
      await tx.query(
        "insert into children (id, tenant_id, batch_id, document_id, options, state) values ($1, $2, $3, $4, $5, 'running')",
        [id, tenantId, batchId, documentId, JSON.stringify(options)],
      )
      return { id }
    },
    async cancelIn(tx, id) {
      const child = await lockChild(tx, id)
      if (child?.state === 'running') await endIn(tx, id, 'cancelled')
    },
    async get(id, { tenantId }) {
      const [row] = await db.query<Row>('select * from children where id = $1 and tenant_id = $2', [
        id,
        tenantId,
      ])
      if (!row) throw rpcError('ANALYSIS_NOT_FOUND', `No analysis has the id "${id}".`)
      return analysisOf(row)
    },
  }
  const clock = () => new Date()
  const { publish } = events
  const batches = createBatches({ store, changes, analyses, packs, publish, clock, ids: randomUUIDv7 })
  subscribeBatchErasure(events, batches)
  const listener = await grpcJsServer.listen(
    '127.0.0.1:0',
    routesOf(implement(BatchServiceDefinition, batchHandlers(batches, { clock })), []),
  )
  stack.defer(() => listener.close(0))

  const clientAs = (tenantId: string, address = listener.address): BatchClient => {
    const connection = grpcJsClient.connect(address)
    stack.defer(() => connection.close())
    const identity = { 'docmesh-user-id': 'ana', 'docmesh-tenant-id': tenantId }
    return createClient(BatchServiceDefinition, sendOver(connection), [
      (next) => (call) => next({ ...call, metadata: { ...call.metadata, ...identity } }),
    ])
  }
  return {
    db,
    events,
    address: listener.address,
    client: clientAs('acme'),
    clientAs,
    sweep: batches.sweep,
    /** Ids of the analyses of a batch in the order of their start. */
    async children(batchId: string, state?: Analysis['state']): Promise<string[]> {
      const rows = await db.query<Row>(
        'select * from children where batch_id = $1 and ($2::text is null or state = $2) order by started',
        [batchId, state ?? null],
      )
      return rows.map(({ id }) => id)
    },
    async child(id: string): Promise<Analysis> {
      const [row] = await db.query<Row>('select * from children where id = $1', [id])
      if (!row) throw new Error(`no child ${id}`)
      return analysisOf(row)
    },
    /** From now on no analysis can start. */
    removePacks() {
      packsAreGone = true
    },
    /** Ends an analysis that runs. */
    end: (id: string, state: End, score?: number): Promise<void> =>
      db.transaction(async (tx) => {
        if ((await lockChild(tx, id))?.state === 'running') await endIn(tx, id, state, score)
      }),
    /** Ends one that has ended before: somebody had it run again. */
    retry: (id: string, state: End, score?: number): Promise<void> =>
      db.transaction(async (tx) => {
        await lockChild(tx, id)
        await endIn(tx, id, state, score)
      }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

type Header = Extract<NonNullable<CreateBatchRequest['part']>, { $case: 'header' }>['value']

/** The messages of a new batch. */
export const headerPart = (header: Partial<Header> = {}): CreateBatchRequest => ({
  part: {
    $case: 'header',
    value: { requestId: '', name: '', options: undefined, parallelism: 0, ...header },
  },
})
export const documentPart = (value: string): CreateBatchRequest => ({ part: { $case: 'documentId', value } })
export const partsOf = (
  header: Partial<Header>,
  documentIds: readonly string[],
): AsyncIterable<CreateBatchRequest> => streamOf([headerPart(header), ...documentIds.map(documentPart)])

export async function* streamOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

export const documentIds = (count: number): string[] => Array.from({ length: count }, () => randomUUID())
