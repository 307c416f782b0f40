import type { Analysis, Options } from '../analysis.ts'

export type BatchState = 'running' | 'completed' | 'partial' | 'failed' | 'cancelled'

export interface Batch {
  readonly id: string
  readonly tenantId: string
  readonly requestedBy: string
  readonly name: string
  readonly options: Options
  /** Analyses that run at once. */
  readonly parallelism: number
  readonly state: BatchState
  /** Documents in it. */
  readonly total: number
  /** Documents that have had their turn: the first ones, by position. */
  readonly started: number
  readonly completed: number
  readonly failed: number
  readonly cancelled: number
  /** Completed analyses that have a score, and the sum of their scores. */
  readonly scored: number
  readonly scoreSum: number
  /** Ends of analyses so far, those that a retry had anew included. */
  readonly ends: number
  readonly createdAt: Date
  /** When its last document was added; before, nothing starts. */
  readonly closedAt: Date | undefined
  readonly endedAt: Date | undefined
}

/** How one analysis of a batch ended. */
export interface Ended {
  readonly state: 'completed' | 'failed' | 'cancelled'
  readonly score: number | undefined
}

export const MAX_DOCUMENTS = 100_000
export const MAX_PARALLELISM = 100
export const DEFAULT_PARALLELISM = 8

/** Undefined while the analysis goes on. */
export const endOf = ({ state, outcome }: Pick<Analysis, 'state' | 'outcome'>): Ended | undefined =>
  state === 'completed' || state === 'failed' || state === 'cancelled'
    ? { state, score: state === 'completed' ? (outcome?.score ?? undefined) : undefined }
    : undefined

const endedCount = ({ completed, failed, cancelled }: Batch): number => completed + failed + cancelled

/** The batch after one of its analyses ended; `before` is how it had ended earlier, when it was retried since. */
export function counted(batch: Batch, end: Ended, before: Ended | undefined): Batch {
  const without = before ? withEnd(batch, before, -1) : batch
  return judged({ ...withEnd(without, end, 1), ends: batch.ends + 1 })
}

const withEnd = (batch: Batch, { state, score }: Ended, by: 1 | -1): Batch => ({
  ...batch,
  [state]: batch[state] + by,
  scored: batch.scored + (score === undefined ? 0 : by),
  scoreSum: batch.scoreSum + by * (score ?? 0),
})

/** What waits will not start. */
export const withoutWaiting = (batch: Batch, state: 'failed' | 'cancelled'): Batch => ({
  ...batch,
  [state]: batch[state] + batch.total - batch.started,
  started: batch.total,
})

/** Nothing more starts, and no document can be added. What runs still has to be stopped. */
export const withdrawn = (batch: Batch, at: Date): Batch => ({
  ...withoutWaiting(batch, 'cancelled'),
  state: 'cancelled',
  closedAt: batch.closedAt ?? at,
})

/** How many waiting documents may start now. */
export const freePlaces = (batch: Batch): number =>
  batch.closedAt === undefined
    ? 0
    : Math.min(
        batch.total - batch.started,
        Math.max(0, batch.parallelism - (batch.started - endedCount(batch))),
      )

/** Whether all that there is to do has been done. */
export const isDone = (batch: Batch): boolean =>
  batch.closedAt !== undefined && endedCount(batch) === batch.total

export const finished = (batch: Batch, endedAt: Date): Batch => judged({ ...batch, endedAt })

/** The state of an ended batch follows its counts, also when a retry changes them; that it was cancelled stays. */
function judged(batch: Batch): Batch {
  const { state, endedAt, total, completed, cancelled } = batch
  if (!endedAt || state === 'cancelled') return batch
  if (completed === total) return { ...batch, state: 'completed' }
  if (cancelled === total) return { ...batch, state: 'cancelled' }
  return { ...batch, state: completed === 0 ? 'failed' : 'partial' }
}

/** Of the completed analyses that have a score. */
export const meanScore = ({ scored, scoreSum }: Batch): number | undefined =>
  scored === 0 ? undefined : scoreSum / scored

/** Milliseconds, at the pace so far; undefined as long as there is none. */
export function remainingMs(batch: Batch, now: Date): number | undefined {
  const ended = endedCount(batch)
  if (batch.endedAt || !batch.closedAt || ended === 0) return undefined
  const takenMs = Math.max(0, now.getTime() - batch.closedAt.getTime())
  return (takenMs / ended) * (batch.total - ended)
}
