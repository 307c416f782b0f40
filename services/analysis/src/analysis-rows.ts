import type { Analysis, Failure, Options, Outcome, PackRef, Step } from './analysis.ts'

/** Channel on which every change of an analysis is told, by its id. */
export const CHANGED = 'analysis_changed'
/** All but what is large. */
export const COLUMNS = `id, tenant_id, requested_by, document_id, document_version, document_name, batch_id, rerun_of, options,
  rule_packs, state, steps, progress, text_sha256, outcome, failure, created_at, started_at, ended_at`

export interface Row {
  id: string
  tenant_id: string
  requested_by: string
  document_id: string
  document_version: number
  document_name: string
  batch_id: string | null
  rerun_of: string | null
  options: Options
  rule_packs: PackRef[]
  state: Analysis['state']
  steps: Step[]
  progress: number
  text_sha256: string | null
  outcome: Outcome | null
  failure: Failure | null
  created_at: Date
  started_at: Date | null
  ended_at: Date | null
}

export const analysisOf = (row: Row): Analysis => ({
  id: row.id,
  tenantId: row.tenant_id,
  requestedBy: row.requested_by,
  documentId: row.document_id,
  documentVersion: row.document_version,
  documentName: row.document_name,
  batchId: row.batch_id ?? undefined,
  rerunOf: row.rerun_of ?? undefined,
  options: row.options,
  rulePacks: row.rule_packs,
  state: row.state,
  steps: row.steps,
  progress: row.progress,
  textSha256: row.text_sha256 ?? undefined,
  outcome: row.outcome ?? undefined,
  failure: row.failure ?? undefined,
  createdAt: row.created_at,
  startedAt: row.started_at ?? undefined,
  endedAt: row.ended_at ?? undefined,
})
