import type { Listener, Postgres, Queryable } from '@docmesh/postgres'
import type { Batch, Ended } from './batch.ts'

const CHANGED = 'batch_changed'
const COLUMNS = `id, tenant_id, requested_by, name, options, parallelism, state, total, started, completed, failed, cancelled,
  scored, score_sum, ends, created_at, closed_at, ended_at`

interface Row {
  id: string
  tenant_id: string
  requested_by: string
  name: string
  options: Batch['options']
  parallelism: number
  state: Batch['state']
  total: number
  started: number
  completed: number
  failed: number
  cancelled: number
  scored: number
  score_sum: bigint
  ends: number
  created_at: Date
  closed_at: Date | null
  ended_at: Date | null
}

/** A document that has its turn. */
export interface Turn {
  readonly position: number
  readonly documentId: string
}

/** What the batch knows of one analysis. */
export interface Child {
  readonly batchId: string
  readonly analysisId: string
  /** How it has ended before; undefined while it runs for the first time. */
  readonly before: Ended | undefined
}

/** All SQL of batches. */
export type BatchStore = ReturnType<typeof batchStore>

export function batchStore(db: Postgres) {
  return {
    query: db.query,
    transaction: db.transaction,

    /** Calls back with the id of each batch that changed, on any instance; '' after a lost connection. */
    onChange: (listener: (id: string) => void): Promise<Listener> => db.listen(CHANGED, listener),

    /** The batch that the tenant made with this request id, or a new one. */
    async open(batch: Batch, requestId: string): Promise<Batch> {
      const [row] = await db.query<Row>(
        `insert into batches (id, tenant_id, requested_by, request_id, name, options, parallelism, state, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (tenant_id, request_id) do update set name = batches.name returning ${COLUMNS}`,
        [
          batch.id,
          batch.tenantId,
          batch.requestedBy,
          requestId || null,
          batch.name,
          JSON.stringify(batch.options),
          batch.parallelism,
          batch.state,
          batch.createdAt,
        ],
      )
      return row ? batchOf(row) : batch
    },

    async get(tenantId: string, id: string): Promise<Batch | undefined> {
      const [row] = await db.query<Row>(`select ${COLUMNS} from batches where tenant_id = $1 and id = $2`, [
        tenantId,
        id,
      ])
      return row && batchOf(row)
    },

    /** Every change of a batch begins with this: until the transaction ends nobody else changes it. */
    async lock(tx: Queryable, id: string): Promise<Batch | undefined> {
      const [row] = await tx.query<Row>(`select ${COLUMNS} from batches where id = $1 for no key update`, [
        id,
      ])
      return row && batchOf(row)
    },

    /** Newest first, one more than `limit` when there are more. */
    async list(tenantId: string, after: string, limit: number): Promise<Batch[]> {
      const rows = await db.query<Row>(
        `select ${COLUMNS} from batches where tenant_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`,
        [tenantId, after || null, limit + 1],
      )
      return rows.map(batchOf)
    },

    /** What can change. */
    async save(tx: Queryable, batch: Batch): Promise<void> {
      await tx.query(
        `update batches set state = $2, total = $3, started = $4, completed = $5, failed = $6, cancelled = $7, scored = $8,
           score_sum = $9, ends = $10, closed_at = $11, ended_at = $12 where id = $1
         returning pg_notify('${CHANGED}', id::text)`,
        [
          batch.id,
          batch.state,
          batch.total,
          batch.started,
          batch.completed,
          batch.failed,
          batch.cancelled,
          batch.scored,
          batch.scoreSum,
          batch.ends,
          batch.closedAt ?? null,
          batch.endedAt ?? null,
        ],
      )
    },

    /** A batch whose documents are not all there. */
    async discard(id: string): Promise<void> {
      await db.query(
        `delete from batches where id = $1 and closed_at is null returning pg_notify('${CHANGED}', id::text)`,
        [id],
      )
    },

    /** Batches whose documents never were all there: for a day somebody may come back and send the rest. */
    async discardStale(): Promise<void> {
      await db.query(
        `delete from batches where closed_at is null and ended_at is null and created_at < now() - interval '1 day'
         returning pg_notify('${CHANGED}', id::text)`,
      )
    },

    /** Adds the documents that are not in the batch, in the order given. Returns how many. */
    async add(tx: Queryable, { id, total }: Batch, documentIds: readonly string[]): Promise<number> {
      const rows = await tx.query(
        `with fresh as (
           select document_id, min(place) as place from unnest($3::uuid[]) with ordinality as given (document_id, place)
           where not exists (select from batch_documents known where known.batch_id = $1 and known.document_id = given.document_id)
           group by document_id)
         insert into batch_documents (batch_id, position, document_id, state)
         select $1, $2 + row_number() over (order by place), document_id, 'waiting' from fresh returning position`,
        [id, total, documentIds],
      )
      return rows.length
    },

    /** The next documents in their order. By position, not by state: how many are behind does not matter. */
    async turns(tx: Queryable, { id, started }: Batch, count: number): Promise<Turn[]> {
      const rows = await tx.query<{ position: number; document_id: string }>(
        'select position, document_id from batch_documents where batch_id = $1 and position > $2 and position <= $3 order by position',
        [id, started, started + count],
      )
      return rows.map(({ position, document_id }) => ({ position, documentId: document_id }))
    },

    async setRunning(tx: Queryable, id: string, position: number, analysisId: string): Promise<void> {
      await tx.query(
        "update batch_documents set state = 'running', analysis_id = $3 where batch_id = $1 and position = $2",
        [id, position, analysisId],
      )
    },

    /** The child of a locked batch. */
    async child(tx: Queryable, batchId: string, analysisId: string): Promise<Child | undefined> {
      const [row] = await tx.query<{ state: Ended['state'] | 'running'; score: number | null }>(
        'select state, score from batch_documents where batch_id = $1 and analysis_id = $2',
        [batchId, analysisId],
      )
      if (!row) return undefined
      const { state, score } = row
      return {
        batchId,
        analysisId,
        before: state === 'running' ? undefined : { state, score: score ?? undefined },
      }
    },

    /** `number`: which of the batch's ends this is. */
    async setEnded(
      tx: Queryable,
      { analysisId }: Child,
      { state, score }: Ended,
      number: number,
    ): Promise<void> {
      await tx.query(
        'update batch_documents set state = $2, score = $3, end_number = $4 where analysis_id = $1',
        [analysisId, state, score ?? null, number],
      )
    },

    async endWaiting(tx: Queryable, { id, started }: Batch, state: 'failed' | 'cancelled'): Promise<void> {
      await tx.query('update batch_documents set state = $3 where batch_id = $1 and position > $2', [
        id,
        started,
        state,
      ])
    },

    /** Analyses that go on: those that have not ended yet, and those that were retried. */
    async underWay(id: string): Promise<string[]> {
      const rows = await db.query<{ analysis_id: string }>(
        `select analysis_id from batch_documents child left join analyses on analyses.id = analysis_id
         where child.batch_id = $1 and (child.state = 'running' or analyses.state in ('queued', 'running', 'paused'))
         order by position`,
        [id],
      )
      return rows.map(({ analysis_id }) => analysis_id)
    },

    /** Analyses of a document that run in batches; always in one order, for who locks several batches. */
    async runningOf(tx: Queryable, documentId: string): Promise<{ batchId: string; analysisId: string }[]> {
      const rows = await tx.query<{ batch_id: string; analysis_id: string }>(
        "select batch_id, analysis_id from batch_documents where document_id = $1 and state = 'running' order by batch_id",
        [documentId],
      )
      return rows.map(({ batch_id, analysis_id }) => ({ batchId: batch_id, analysisId: analysis_id }))
    },

    /** Analyses by the number of their end, from the one after `after` to `upTo`. */
    async endedBetween(
      id: string,
      after: number,
      upTo: number,
      limit: number,
    ): Promise<{ analysisId: string; number: number }[]> {
      const rows = await db.query<{ analysis_id: string; end_number: number }>(
        `select analysis_id, end_number from batch_documents where batch_id = $1 and end_number > $2 and end_number <= $3
         order by end_number limit $4`,
        [id, after, upTo, limit],
      )
      return rows.map(({ analysis_id, end_number }) => ({ analysisId: analysis_id, number: end_number }))
    },
  }
}

const batchOf = (row: Row): Batch => ({
  id: row.id,
  tenantId: row.tenant_id,
  requestedBy: row.requested_by,
  name: row.name,
  options: row.options,
  parallelism: row.parallelism,
  state: row.state,
  total: row.total,
  started: row.started,
  completed: row.completed,
  failed: row.failed,
  cancelled: row.cancelled,
  scored: row.scored,
  scoreSum: Number(row.score_sum),
  ends: row.ends,
  createdAt: row.created_at,
  closedAt: row.closed_at ?? undefined,
  endedAt: row.ended_at ?? undefined,
})
