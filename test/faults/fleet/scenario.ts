// What the scenarios of the fleet have in common.
import { type Analysis, AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { eventually } from '@docmesh/testing'
import { type Result, type RunOptions, skipped } from '../mesh/scenarios.ts'
import { type CheckerOptions, inspect } from './checker.ts'
import { type Lab, type LabOptions, startLab } from './lab.ts'
import { NotPossible } from './not-possible.ts'

export interface FleetRunOptions extends RunOptions {
  /** The same seed kills the same instances after the same amount of work. */
  readonly seed: number
}

export type FleetScenario = (options: FleetRunOptions) => Promise<Result>

export const END_MS = 600_000
/** Longer than anything that is tried again may wait. */
const SETTLE_MS = 120_000
const SHOWN = 20

export async function inFleet(
  options: LabOptions,
  bar: string,
  run: (lab: Lab) => Promise<Result>,
): Promise<Result> {
  try {
    await using lab = await startLab(options)
    return await run(lab)
  } catch (error) {
    if (error instanceof NotPossible) return skipped(error.message, bar)
    throw error
  }
}

/** What callers were promised. */
export type Promised = Pick<CheckerOptions, 'asked' | 'jobs' | 'batches'>

/** What the checker still finds once the rest had its time, and how long that was. */
export async function settled(lab: Lab, promised: Promised) {
  const begunAt = performance.now()
  const look = () => inspect(lab.db, { blobDir: lab.blobDir, mails: lab.mails(), ...promised })
  const violations = await eventually(
    async () => {
      const found = await look()
      if (found.length > 0) throw new Error(found[0])
      return found
    },
    { timeoutMs: SETTLE_MS, intervalMs: 250 },
  ).catch(look)
  return {
    violations: violations.slice(0, SHOWN),
    violation_count: violations.length,
    settled_ms: Math.round(performance.now() - begunAt),
  }
}

/** Of so many analyses, those that did not complete. */
export const failedOf = (count: number, ended: readonly Analysis[]): number =>
  count - ended.filter(({ state }) => state === AnalysisState.COMPLETED).length
