import type { Listener, Postgres, Queryable } from '@docmesh/postgres'
import type { Analysis, StepName } from './analysis.ts'
import { analysisOf, CHANGED, COLUMNS, type Row } from './analysis-rows.ts'
import type { Finding } from './rules/findings.ts'
import { runStore } from './run-store.ts'

const PRIORITIES = { low: 0, normal: 1, high: 2 } as const
/** Completed analyses that estimates are made from. */
const HISTORY = 50

export interface AnalysisFilter {
  /** Empty: of any document. */
  readonly documentId: string
  /** Empty: of any batch, and of none. */
  readonly batchId: string
  /** Empty: in any state. */
  readonly states: readonly Analysis['state'][]
}

/** The SQL of those who ask for analyses, read them and tell them what to do; `runs` has that of their runs. */
export type AnalysisStore = ReturnType<typeof analysisStore>

export function analysisStore(db: Postgres) {
  return {
    query: db.query,
    transaction: db.transaction,
    runs: runStore(db),

    /** Calls back with the id of each analysis that changed, on any instance; '' after a lost connection. */
    onChange: (listener: (id: string) => void): Promise<Listener> => db.listen(CHANGED, listener),

    /** False when the tenant has used the request id before. */
    async insert(tx: Queryable, analysis: Analysis, requestId: string): Promise<boolean> {
      const rows = await tx.query(
        `insert into analyses (id, tenant_id, requested_by, request_id, document_id, document_version, document_name, batch_id,
           rerun_of, options, priority, text_sha256, state, steps, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'queued', '[]', $13)
         on conflict (tenant_id, request_id) do nothing returning id`,
        [
          analysis.id,
          analysis.tenantId,
          analysis.requestedBy,
          requestId || null,
          analysis.documentId,
          analysis.documentVersion,
          analysis.documentName,
          analysis.batchId ?? null,
          analysis.rerunOf ?? null,
          JSON.stringify(analysis.options),
          PRIORITIES[analysis.options.priority],
          analysis.textSha256 ?? null,
          analysis.createdAt,
        ],
      )
      return rows.length > 0
    },

    async get(on: Queryable, tenantId: string, id: string): Promise<Analysis | undefined> {
      const [row] = await on.query<Row>(`select ${COLUMNS} from analyses where tenant_id = $1 and id = $2`, [
        tenantId,
        id,
      ])
      return row && analysisOf(row)
    },

    async byRequest(on: Queryable, tenantId: string, requestId: string): Promise<Analysis | undefined> {
      const [row] = await on.query<Row>(
        `select ${COLUMNS} from analyses where tenant_id = $1 and request_id = $2`,
        [tenantId, requestId],
      )
      return row && analysisOf(row)
    },

    /** Newest first, one more than `limit` when there are more. */
    async list(
      tenantId: string,
      { documentId, batchId, states }: AnalysisFilter,
      after: string,
      limit: number,
    ): Promise<Analysis[]> {
      const rows = await db.query<Row>(
        `select ${COLUMNS} from analyses where tenant_id = $1 and ($2::uuid is null or id < $2)
           and ($3::uuid is null or document_id = $3) and (cardinality($4::text[]) = 0 or state = any ($4))
           and ($5::uuid is null or batch_id = $5)
         order by id desc limit $6`,
        [tenantId, after || null, documentId || null, states, batchId || null, limit + 1],
      )
      return rows.map(analysisOf)
    },

    async findings(on: Queryable, id: string): Promise<Finding[]> {
      const [row] = await on.query<{ findings: Finding[] | null }>(
        'select findings from analyses where id = $1',
        [id],
      )
      return row?.findings ?? []
    },

    /** Place among those of its tenant, from 1: tenants take turns. 1 also when a worker takes it in this moment. */
    async queuePosition(on: Queryable, id: string): Promise<number> {
      const [row] = await on.query<{ before: bigint }>(
        `select count(*) as before from analyses other join analyses own on own.id = $1 and other.tenant_id = own.tenant_id
         where other.state = 'queued' and (other.priority > own.priority
           or (other.priority = own.priority and (other.queued_at, other.id) < (own.queued_at, own.id)))`,
        [id],
      )
      return Number(row?.before ?? 0) + 1
    },

    async queueDepth(): Promise<number> {
      const [row] = await db.query<{ depth: bigint }>(
        "select count(*) as depth from analyses where state = 'queued'",
      )
      return Number(row?.depth ?? 0)
    },

    /** Median duration of each step in the latest completed analyses, in milliseconds. */
    async stepMedians(): Promise<ReadonlyMap<StepName, number>> {
      const rows = await db.query<{ name: StepName; ms: number }>(
        `select step.name, percentile_cont(0.5) within group (
             order by extract(epoch from step."endedAt" - step."startedAt") * 1000)::float8 as ms
         from (select steps from analyses where state = 'completed' order by ended_at desc limit ${HISTORY}) latest,
           jsonb_to_recordset(latest.steps) as step (name text, "startedAt" timestamptz, "endedAt" timestamptz)
         where step."endedAt" is not null group by step.name`,
      )
      return new Map(rows.map(({ name, ms }) => [name, ms]))
    },

    async cancel(tx: Queryable, id: string, reason: string, at: Date): Promise<Analysis | undefined> {
      const [row] = await tx.query<Row>(
        `update analyses set state = 'cancelled', failure = null, cancel_reason = $2, ended_at = $3 where id = $1
         returning ${COLUMNS}, pg_notify('${CHANGED}', id::text)`,
        [id, reason, at],
      )
      return row && analysisOf(row)
    },

    /** False when it was carried out before. Without an id of the request nobody can tell. */
    async order(tx: Queryable, id: string, requestId: string): Promise<boolean> {
      if (!requestId) return true
      const rows = await tx.query(
        'insert into analysis_orders (analysis_id, request_id) values ($1, $2) on conflict do nothing returning 1',
        [id, requestId],
      )
      return rows.length > 0
    },

    async ofDocument(tx: Queryable, documentId: string): Promise<string[]> {
      const rows = await tx.query<{ id: string }>(
        'select id from analyses where document_id = $1 order by id',
        [documentId],
      )
      return rows.map(({ id }) => id)
    },

    /** Erasure: what was derived from a document goes with everything that it says. */
    async erase(tx: Queryable, ids: readonly string[]): Promise<void> {
      await tx.query(
        `with orders as (delete from analysis_orders where analysis_id = any ($1)),
           erased as (delete from analyses where id = any ($1) returning id)
         select pg_notify('${CHANGED}', id::text) from erased`,
        [ids],
      )
    },
  }
}
