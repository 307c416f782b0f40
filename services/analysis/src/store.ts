import type { Listener, Postgres, Queryable } from '@docmesh/postgres'
import type { Analysis, Failure, Options, Outcome, PackRef, Step } from './analysis.ts'
import type { Finding } from './rules/findings.ts'

const CHANGED = 'analysis_changed'
const PRIORITIES = { low: 0, normal: 1, high: 2 } as const
const COLUMNS = `id, tenant_id, requested_by, document_id, document_version, document_name, options, rule_packs, state,
  steps, outcome, failure, created_at, started_at, ended_at`

interface Row {
  id: string
  tenant_id: string
  requested_by: string
  document_id: string
  document_version: number
  document_name: string
  options: Options
  rule_packs: PackRef[]
  state: Analysis['state']
  steps: Step[]
  outcome: Outcome | null
  failure: Failure | null
  created_at: Date
  started_at: Date | null
  ended_at: Date | null
}

/** The right to run one analysis: writes are refused once somebody else has a higher fence. */
export interface Claim {
  readonly analysis: Analysis
  readonly fence: bigint
  readonly attempt: number
}

export interface Completion {
  readonly steps: readonly Step[]
  readonly rulePacks: readonly PackRef[]
  readonly outcome: Outcome
  readonly findings: readonly Finding[]
  readonly endedAt: Date
}

export interface AnalysisFilter {
  /** Empty: of any document. */
  readonly documentId: string
  /** Empty: in any state. */
  readonly states: readonly Analysis['state'][]
}

/** All SQL of the analysis service. */
export type AnalysisStore = ReturnType<typeof analysisStore>

export function analysisStore(db: Postgres) {
  return {
    query: db.query,
    transaction: db.transaction,

    /** Calls back with the id of each analysis that changed, on any instance; '' after a lost connection. */
    onChange: (listener: (id: string) => void): Promise<Listener> => db.listen(CHANGED, listener),

    /** False when the tenant has used the request id before. */
    async insert(tx: Queryable, analysis: Analysis, requestId: string): Promise<boolean> {
      const rows = await tx.query(
        `with inserted as (
           insert into analyses (id, tenant_id, requested_by, request_id, document_id, document_version, document_name, options,
             priority, state, steps, created_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued', $10, $11)
           on conflict (tenant_id, request_id) do nothing returning id)
         select pg_notify('${CHANGED}', id::text) from inserted`,
        [
          analysis.id,
          analysis.tenantId,
          analysis.requestedBy,
          requestId || null,
          analysis.documentId,
          analysis.documentVersion,
          analysis.documentName,
          JSON.stringify(analysis.options),
          PRIORITIES[analysis.options.priority],
          JSON.stringify(analysis.steps),
          analysis.createdAt,
        ],
      )
      return rows.length > 0
    },

    async get(
      on: Queryable,
      tenantId: string,
      id: string,
      { lock = false } = {},
    ): Promise<Analysis | undefined> {
      const [row] = await on.query<Row>(
        `select ${COLUMNS} from analyses where tenant_id = $1 and id = $2 ${lock ? 'for update' : ''}`,
        [tenantId, id],
      )
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
      { documentId, states }: AnalysisFilter,
      after: string,
      limit: number,
    ): Promise<Analysis[]> {
      const rows = await db.query<Row>(
        `select ${COLUMNS} from analyses where tenant_id = $1 and ($2::uuid is null or id < $2)
           and ($3::uuid is null or document_id = $3) and (cardinality($4::text[]) = 0 or state = any ($4))
         order by id desc limit $5`,
        [tenantId, after || null, documentId || null, states, limit + 1],
      )
      return rows.map(analysisOf)
    },

    async findings(tenantId: string, id: string): Promise<Finding[]> {
      const [row] = await db.query<{ findings: Finding[] | null }>(
        'select findings from analyses where tenant_id = $1 and id = $2',
        [tenantId, id],
      )
      return row?.findings ?? []
    },

    /** Analyses before this one in the queue, and itself. */
    async queuePosition(on: Queryable, id: string): Promise<number> {
      const [row] = await on.query<{ position: bigint }>(
        `select count(*) as position from analyses other join analyses own on own.id = $1
         where other.state = 'queued' and (other.priority > own.priority or (other.priority = own.priority and other.id <= own.id))`,
        [id],
      )
      return Number(row?.position ?? 0)
    },

    async queueDepth(): Promise<number> {
      const [row] = await db.query<{ depth: bigint }>(
        "select count(*) as depth from analyses where state = 'queued'",
      )
      return Number(row?.depth ?? 0)
    },

    /** Takes the next analysis that waits, or whose worker is gone. */
    async claim(owner: string, leaseMs: number, startedAt: Date): Promise<Claim | undefined> {
      const [row] = await db.query<Row & { fence: bigint; attempts: number }>(
        `update analyses set state = 'running', owner = $1, fence = fence + 1, attempts = attempts + 1,
           lease_until = clock_timestamp() + make_interval(secs => $2 / 1000.0), started_at = coalesce(started_at, $3)
         where id = (
           select id from analyses where state = 'queued' or (state = 'running' and lease_until < clock_timestamp())
           order by priority desc, id limit 1 for update skip locked)
         returning ${COLUMNS}, fence, attempts`,
        [owner, leaseMs, startedAt],
      )
      return row && { analysis: analysisOf(row), fence: row.fence, attempt: row.attempts }
    },

    /** Keeps the leases of these analyses; returns those that are still ours. */
    async renew(owner: string, ids: readonly string[], leaseMs: number): Promise<ReadonlySet<string>> {
      const rows = await db.query<{ id: string }>(
        `update analyses set lease_until = clock_timestamp() + make_interval(secs => $3 / 1000.0)
         where id = any ($2) and owner = $1 and state = 'running' returning id`,
        [owner, ids, leaseMs],
      )
      return new Set(rows.map(({ id }) => id))
    },

    /** Gives unfinished analyses back to the queue at once, when their worker ends in order. */
    async release(owner: string): Promise<void> {
      await db.query(
        `with released as (
           update analyses set state = 'queued', owner = null, lease_until = null where owner = $1 and state = 'running' returning id)
         select pg_notify('${CHANGED}', id::text) from released`,
        [owner],
      )
    },

    /** False when the claim is no longer ours: nothing was written. */
    async saveProgress(
      tx: Queryable,
      { analysis, fence }: Claim,
      steps: readonly Step[],
      rulePacks: readonly PackRef[],
    ): Promise<boolean> {
      const rows = await tx.query(
        `with changed as (
           update analyses set steps = $3, rule_packs = $4 where id = $1 and fence = $2 and state = 'running' returning id)
         select pg_notify('${CHANGED}', id::text) from changed`,
        [analysis.id, fence, JSON.stringify(steps), JSON.stringify(rulePacks)],
      )
      return rows.length > 0
    },

    /** False when the claim is no longer ours: nothing was written. */
    async complete(
      tx: Queryable,
      { analysis, fence }: Claim,
      { steps, rulePacks, outcome, findings, endedAt }: Completion,
    ): Promise<boolean> {
      const rows = await tx.query(
        `with changed as (
           update analyses set state = 'completed', steps = $3, rule_packs = $4, outcome = $5, findings = $6, ended_at = $7,
             owner = null, lease_until = null
           where id = $1 and fence = $2 and state = 'running' returning id)
         select pg_notify('${CHANGED}', id::text) from changed`,
        [
          analysis.id,
          fence,
          JSON.stringify(steps),
          JSON.stringify(rulePacks),
          JSON.stringify(outcome),
          JSON.stringify(findings),
          endedAt,
        ],
      )
      return rows.length > 0
    },

    /** False when the claim is no longer ours: nothing was written. */
    async fail(
      tx: Queryable,
      { analysis, fence }: Claim,
      steps: readonly Step[],
      failure: Failure,
      at: Date,
    ): Promise<boolean> {
      const rows = await tx.query(
        `with changed as (
           update analyses set state = 'failed', steps = $3, failure = $4, ended_at = $5, owner = null, lease_until = null
           where id = $1 and fence = $2 and state = 'running' returning id)
         select pg_notify('${CHANGED}', id::text) from changed`,
        [analysis.id, fence, JSON.stringify(steps), JSON.stringify(failure), at],
      )
      return rows.length > 0
    },

    /** Ends or restarts an analysis from outside of its worker, which the new fence shuts out. */
    async setState(
      tx: Queryable,
      id: string,
      state: 'queued' | 'cancelled',
      steps: readonly Step[],
      endedAt: Date | null,
    ): Promise<void> {
      await tx.query(
        `update analyses set state = $2, steps = $3, ended_at = $4, failure = null, fence = fence + 1, attempts = 0, owner = null,
           lease_until = null where id = $1`,
        [id, state, JSON.stringify(steps), endedAt],
      )
      await tx.query('select pg_notify($1, $2)', [CHANGED, id])
    },

    /** Erasure: everything that was derived from the document. Returns the ids of the analyses that are gone. */
    async eraseDocument(tx: Queryable, documentId: string): Promise<string[]> {
      const rows = await tx.query<{ id: string }>(
        `with erased as (delete from analyses where document_id = $1 returning id)
         select id, pg_notify('${CHANGED}', id::text) from erased`,
        [documentId],
      )
      return rows.map(({ id }) => id)
    },
  }
}

const analysisOf = (row: Row): Analysis => ({
  id: row.id,
  tenantId: row.tenant_id,
  requestedBy: row.requested_by,
  documentId: row.document_id,
  documentVersion: row.document_version,
  documentName: row.document_name,
  options: row.options,
  rulePacks: row.rule_packs,
  state: row.state,
  steps: row.steps,
  outcome: row.outcome ?? undefined,
  failure: row.failure ?? undefined,
  createdAt: row.created_at,
  startedAt: row.started_at ?? undefined,
  endedAt: row.ended_at ?? undefined,
})
