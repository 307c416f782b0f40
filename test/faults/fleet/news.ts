// What the payloads of events promise: whom they name is told, what they count was told of, and nothing is told twice.
import {
  AnalysisCompleted,
  AnalysisFailed,
  AnalysisProgressUpdated,
  AnalysisQueued,
  BatchCompleted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import { JobStarted } from '@docmesh/contracts/ops/v1/events'
import type { Queryable } from '@docmesh/postgres'
import { ANONYMOUS } from '../../../services/notification/src/notifications.ts'

const TYPES = [
  AnalysisQueued,
  AnalysisProgressUpdated,
  AnalysisCompleted,
  AnalysisFailed,
  ProblemDetected,
  BatchCompleted,
  JobStarted,
]

interface Row {
  readonly id: string
  readonly type: string
  readonly aggregate_type: string
  readonly aggregate_id: string
  readonly payload: Buffer
}

export async function checkNews(db: Queryable): Promise<string[]> {
  const rows = await db.query<Row>(
    `select id, type, aggregate_type, aggregate_id, payload from events.log where type = any ($1) and payload <> '' order by position`,
    [TYPES.map(({ $type }) => $type)],
  )
  const told = await db.query<{ event_id: string; user_id: string }>(
    'select event_id, user_id from notification.notifications',
  )
  return [...untold(rows, told), ...miscounted(rows), ...begunAgain(rows), ...startedAgain(rows)]
}

function untold(rows: readonly Row[], told: readonly { event_id: string; user_id: string }[]): string[] {
  const pairs = new Set(told.map(({ event_id, user_id }) => `${event_id} ${user_id}`))
  return rows.flatMap((row) => {
    const end = endOf(row)
    const user = end?.requestedBy || ANONYMOUS
    return end?.notify && !pairs.has(`${row.id} ${user}`)
      ? [`user ${user} was not told of the end of ${row.aggregate_type} ${row.aggregate_id}`]
      : []
  })
}

function endOf(row: Row): { readonly notify: boolean; readonly requestedBy: string } | undefined {
  for (const type of [AnalysisCompleted, AnalysisFailed, BatchCompleted])
    if (isOf(type)(row)) return type.decode(row.payload)
  return undefined
}

/** An attempt of a job begins once, however often it is run. */
function startedAgain(rows: readonly Row[]): string[] {
  const attempts = rows
    .filter(isOf(JobStarted))
    .map(({ aggregate_id, payload }) => `${aggregate_id} began attempt ${JobStarted.decode(payload).attempt}`)
  return [...Map.groupBy(attempts, (attempt) => attempt)]
    .filter(([, times]) => times.length > 1)
    .map(([attempt, times]) => `job ${attempt} ${times.length} times`)
}

function miscounted(rows: readonly Row[]): string[] {
  return [...byAnalysis(rows)].flatMap(([id, news]) => {
    const completed = news.filter(isOf(AnalysisCompleted))
    const announced = completed
      .map(({ payload }) => AnalysisCompleted.decode(payload).counts)
      .reduce((sum, counts) => sum + (counts?.critical ?? 0) + (counts?.high ?? 0), 0)
    const problems = news.filter(isOf(ProblemDetected)).length
    return problems === announced
      ? []
      : [`analysis ${id} told of ${problems} problems and counted ${announced}`]
  })
}

/** A step that is told of begins once for each ask, however often it is run. */
function begunAgain(rows: readonly Row[]): string[] {
  return [...byAnalysis(rows)].flatMap(([id, news]) => {
    const asks = news.filter(isOf(AnalysisQueued)).length
    const begun = news
      .filter(isOf(AnalysisProgressUpdated))
      .map(({ payload }) => AnalysisProgressUpdated.decode(payload))
    return [...Map.groupBy(begun, ({ currentStep }) => currentStep)]
      .filter(([, times]) => times.length > asks)
      .map(([step, times]) => `analysis ${id} began ${step} ${times.length} times for ${asks} asks`)
  })
}

const byAnalysis = (rows: readonly Row[]): Map<string, Row[]> =>
  Map.groupBy(rows, ({ aggregate_id }) => aggregate_id)

const isOf =
  ({ $type }: { readonly $type: string }) =>
  ({ type }: Row): boolean =>
    type === $type
