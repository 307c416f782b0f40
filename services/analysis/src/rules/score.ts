import type { Severity } from './pack-schema.ts'

export const DEDUCTIONS: Readonly<Record<Severity, number>> = { critical: 20, high: 10, medium: 5, low: 2 }
/** Below this score the verdict is `fail`; so it is with any critical finding. */
export const PASS_SCORE = 70

export interface RuleCount {
  readonly ruleId: string
  readonly severity: Severity
  readonly count: number
  /** Findings of the rule that count at most. */
  readonly maxCount: number
}

export interface LedgerEntry {
  readonly severity: Severity
  readonly ruleId: string
  readonly deduction: number
  readonly count: number
}

export type Verdict = 'pass' | 'fail' | 'incomplete'

/** score = max(0, 100 − Σ deduction), one ledger line per rule that found something. */
export const scoreOf = (
  counts: readonly RuleCount[],
): { readonly score: number; readonly ledger: readonly LedgerEntry[] } => {
  const ledger = counts
    .filter(({ count }) => count > 0)
    .map(({ ruleId, severity, count, maxCount }) => ({
      severity,
      ruleId,
      deduction: DEDUCTIONS[severity] * Math.min(count, maxCount),
      count,
    }))
    .sort((a, b) => b.deduction - a.deduction || (a.ruleId < b.ruleId ? -1 : 1))
  return { score: Math.max(0, 100 - ledger.reduce((sum, { deduction }) => sum + deduction, 0)), ledger }
}

/** A certain failure stays one when something could not be assessed; a pass does not. */
export const verdictOf = (score: number | null, critical: boolean, complete: boolean): Verdict => {
  if (score === null) return 'incomplete'
  if (critical || score < PASS_SCORE) return 'fail'
  return complete ? 'pass' : 'incomplete'
}
