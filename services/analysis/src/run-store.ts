import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Analysis, Failure, Outcome, PackRef, Step } from './analysis.ts'
import { analysisOf, CHANGED, COLUMNS, type Row } from './analysis-rows.ts'
import type { Assessment } from './rules/assess.ts'
import type { Finding } from './rules/findings.ts'

/** What the row shows of its run. */
export interface Progress {
  readonly state: Analysis['state']
  readonly steps: readonly Step[]
  readonly progress: number
  readonly failure: Failure | undefined
  readonly startedAt: Date | undefined
  readonly endedAt: Date | undefined
}

/** The SQL of the runs of analyses: what their steps read and write, and how the row follows them. */
export function runStore(db: Postgres) {
  return {
    /** Whoever's it is: a run has the tenant of its analysis. */
    async get(id: string): Promise<Analysis | undefined> {
      const [row] = await db.query<Row>(`select ${COLUMNS} from analyses where id = $1`, [id])
      return row && analysisOf(row)
    },

    /**
     * Shows what has become of the run; one that was cancelled stays cancelled, whatever is still taken back. Of a
     * document that is gone the name goes too: it may have been erased while the analysis was started. `begins`:
     * AnalysisStarted has not been told yet. Undefined: there is no such analysis, it was erased.
     */
    async show(
      tx: Queryable,
      id: string,
      { state, steps, progress, failure, startedAt, endedAt }: Progress,
    ): Promise<{ analysis: Analysis; begins: boolean } | undefined> {
      const [row] = await tx.query<Row & { begins: boolean }>(
        `with before as (select state as was, started_told from analyses where id = $1)
         update analyses set steps = $3, progress = $4,
           state = case when was = 'cancelled' then was else $2 end,
           failure = case when was = 'cancelled' then null else $5::jsonb end,
           document_name = case when $5::jsonb->>'reason' = 'DOCUMENT_NOT_FOUND' then '' else document_name end,
           draft = case when $2 = 'completed' then null else draft end,
           started_at = coalesce($6, started_at),
           ended_at = case when was = 'cancelled' then ended_at else $7 end,
           queued_at = case when $2 = 'queued' and was <> 'queued' then clock_timestamp() else queued_at end,
           started_told = before.started_told and not ($2 = 'queued' and was = 'failed') or $2 = 'running'
         from before where id = $1
         returning ${COLUMNS}, $2 = 'running' and not before.started_told as begins, pg_notify('${CHANGED}', id::text)`,
        [
          id,
          state,
          JSON.stringify(steps),
          progress,
          failure ? JSON.stringify(failure) : null,
          startedAt ?? null,
          endedAt ?? null,
        ],
      )
      return row && { analysis: analysisOf(row), begins: row.begins }
    },

    async setDocument(tx: Queryable, id: string, version: number, name: string): Promise<void> {
      await tx.query('update analyses set document_version = $2, document_name = $3 where id = $1', [
        id,
        version,
        name,
      ])
    },

    async setText(tx: Queryable, id: string, sha256: string): Promise<void> {
      await tx.query('update analyses set text_sha256 = $2 where id = $1', [id, sha256])
    },

    async setDraft(
      tx: Queryable,
      id: string,
      rulePacks: readonly PackRef[],
      draft: Assessment | undefined,
    ): Promise<void> {
      await tx.query('update analyses set rule_packs = $2, draft = $3 where id = $1', [
        id,
        JSON.stringify(rulePacks),
        draft ? JSON.stringify(draft) : null,
      ])
    },

    async draft(id: string): Promise<Assessment | undefined> {
      const [row] = await db.query<{ draft: Assessment | null }>('select draft from analyses where id = $1', [
        id,
      ])
      return row?.draft ?? undefined
    },

    async setOutcome(
      tx: Queryable,
      id: string,
      result: { readonly outcome: Outcome; readonly findings: readonly Finding[] } | undefined,
    ): Promise<void> {
      await tx.query('update analyses set outcome = $2, findings = $3 where id = $1', [
        id,
        result ? JSON.stringify(result.outcome) : null,
        result ? JSON.stringify(result.findings) : null,
      ])
    },
  }
}
