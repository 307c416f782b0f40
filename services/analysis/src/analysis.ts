import type { StepState } from '@docmesh/workflow'
import type { Coverage } from './rules/assess.ts'
import type { Finding } from './rules/findings.ts'
import type { LedgerEntry, Verdict } from './rules/score.ts'

export type AnalysisState = 'queued' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'

export const STEPS = [
  'validate',
  'queue',
  'extract',
  'rules',
  'ai',
  'consolidate',
  'quality-check',
  'notify',
] as const
export type StepName = (typeof STEPS)[number]

export interface Step {
  readonly name: StepName
  readonly state: StepState
  readonly detail: string
  readonly attempts: number
  /** ISO 8601. */
  readonly startedAt?: string
  readonly endedAt?: string
}

export interface Options {
  /** `id` or `id@version`; empty lets the service choose by the document. */
  readonly rulePacks: readonly string[]
  readonly locale: 'pt-BR' | 'en'
  readonly priority: 'low' | 'normal' | 'high'
  readonly aiEnabled: boolean
  readonly notify: boolean
  readonly unmask: boolean
}

export interface PackRef {
  readonly id: string
  readonly version: string
  readonly sha256: string
}

/** What came out, but for the findings, which are many and kept apart. Personal data is masked unless asked otherwise. */
export interface Outcome {
  readonly score: number | null
  readonly verdict: Verdict
  readonly ledger: readonly LedgerEntry[]
  readonly coverage: Coverage
  readonly counts: Readonly<Record<Finding['severity'], number>>
  readonly source: { readonly sha256: string; readonly mediaType: string }
}

export interface Failure {
  readonly step: StepName
  readonly reason: string
  readonly message: string
  readonly retryable: boolean
}

export interface Analysis {
  readonly id: string
  readonly tenantId: string
  readonly requestedBy: string
  readonly documentId: string
  /** 0 until it is known which one is current. */
  readonly documentVersion: number
  readonly documentName: string
  readonly batchId: string | undefined
  readonly rerunOf: string | undefined
  readonly options: Options
  readonly rulePacks: readonly PackRef[]
  readonly state: AnalysisState
  readonly steps: readonly Step[]
  /** 0 to 100. */
  readonly progress: number
  /** Of the canonical text, once it was extracted. */
  readonly textSha256: string | undefined
  /** Set a little before it is completed: until then it may be taken back. */
  readonly outcome: Outcome | undefined
  readonly failure: Failure | undefined
  readonly createdAt: Date
  readonly startedAt: Date | undefined
  readonly endedAt: Date | undefined
}

export interface Caller {
  readonly userId: string
  readonly tenantId: string
  readonly requestId: string
}

export const hasEnded = ({ state }: Analysis): boolean =>
  state === 'completed' || state === 'failed' || state === 'cancelled'

export const currentStep = (steps: readonly Step[]): StepName | '' =>
  steps.find(({ state }) => state === 'running')?.name ?? ''
