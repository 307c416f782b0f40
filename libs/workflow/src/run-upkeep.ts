import type { Postgres } from '@docmesh/postgres'
import type { Dispatches } from './dispatches.ts'
import type { Pipeline } from './pipeline.ts'
import { dispatchOf, type RunRow } from './run-rows.ts'

export type RunUpkeep = ReturnType<typeof createRunUpkeep>

/** What has to be done for runs that nobody looks after. */
export function createRunUpkeep({
  db,
  schema,
  dispatches,
  appVersion,
  pipelineOf,
}: {
  db: Postgres
  schema: string
  dispatches: Dispatches
  appVersion: string
  pipelineOf: (row: Pick<RunRow, 'pipeline' | 'version'>) => Pipeline | undefined
}) {
  return {
    /**
     * Takes over jobs that wait for a version that no node runs any more: nothing of them is done yet, and a schedule must
     * not end with a release. Returns how many.
     */
    async adoptStranded(): Promise<number> {
      const rows = await db.query<RunRow>(
        `select * from ${schema}.runs where state = 'queued' and max_attempts is not null and app_version <> $1
           and app_version not in (select app_version from ${schema}.nodes) limit 100`,
        [appVersion],
      )
      const ours = rows.filter((row) => pipelineOf(row))
      for (const { id, dispatch } of ours)
        await db.transaction(async (tx) => {
          const [row] = await tx.query<RunRow>(
            `update ${schema}.runs set app_version = $3, dispatch = dispatch + 1, updated_at = clock_timestamp()
             where id = $1 and dispatch = $2 and state = 'queued' returning *`,
            [id, dispatch, appVersion],
          )
          if (!row) return
          await dispatches.withdraw(tx, { runId: id, number: dispatch })
          await dispatches.enqueue(tx, dispatchOf(row, row.due_at ?? undefined))
        })
      return ours.length
    },

    /** Queues open runs again whose dispatch is over. Returns how many. */
    async adoptOrphans(olderThanMs: number): Promise<number> {
      const ids = await dispatches.orphans(db, appVersion, olderThanMs)
      for (const id of ids)
        await db.transaction(async (tx) => {
          const [row] = await tx.query<RunRow>(
            `update ${schema}.runs set dispatch = dispatch + 1, owner = null, updated_at = clock_timestamp()
             where id = (select id from ${schema}.runs where id = $1 and state in ('queued', 'running', 'compensating')
               and updated_at < clock_timestamp() - make_interval(secs => $2 / 1000.0) for no key update skip locked) returning *`,
            [id, olderThanMs],
          )
          if (row) await dispatches.enqueue(tx, dispatchOf(row))
        })
      return ids.length
    },

    /** Removes runs that ended so long ago. Returns how many, at most 1 000. */
    async prune(olderThanMs: number): Promise<number> {
      const rows = await db.query(
        `delete from ${schema}.runs where id in (select id from ${schema}.runs
           where ended_at < clock_timestamp() - make_interval(secs => $1 / 1000.0) and state <> 'dead' limit 1000) returning 1`,
        [olderThanMs],
      )
      return rows.length
    },
  }
}
