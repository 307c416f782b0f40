import type { Postgres } from '@docmesh/postgres'
import type { Dispatches } from './dispatches.ts'
import type { JobType } from './job.ts'
import { dispatchOf, type RunRow } from './run-rows.ts'

export type RunUpkeep = ReturnType<typeof createRunUpkeep>

/** What has to be done for runs that nobody looks after. */
export function createRunUpkeep({
  db,
  schema,
  dispatches,
  appVersion,
  node,
  claims,
  jobTypes,
}: {
  db: Postgres
  schema: string
  dispatches: Dispatches
  appVersion: string
  node: string
  /** Under which this node executes runs at the moment. */
  claims: () => readonly string[]
  jobTypes: readonly Pick<JobType, 'type' | 'version'>[]
}) {
  return {
    /**
     * Takes over jobs that wait for a version that no node runs any more: nothing of them is done yet, and a schedule must
     * not end with a release. Returns how many.
     */
    async adoptStranded(): Promise<number> {
      const rows = await db.query<RunRow>(
        `select * from ${schema}.runs where state = 'queued' and max_attempts is not null and app_version <> $1
           and app_version not in (select app_version from ${schema}.nodes)
           and (pipeline, version) in (select * from unnest($2::text[], $3::text[])) limit 100`,
        [appVersion, jobTypes.map(({ type }) => type), jobTypes.map(({ version }) => version)],
      )
      for (const { id, dispatch } of rows)
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
      return rows.length
    },

    /** Queues open runs again whose dispatch is over, or given to this node without its knowing. Returns how many. */
    async adoptOrphans(olderThanMs: number): Promise<number> {
      const ids = await dispatches.orphans(db, { appVersion, node, claims: claims(), olderThanMs })
      for (const id of ids)
        await db.transaction(async (tx) => {
          const [row] = await tx.query<RunRow>(
            `update ${schema}.runs set dispatch = dispatch + 1, owner = null, updated_at = clock_timestamp()
             where id = (select id from ${schema}.runs where id = $1 and state in ('queued', 'running', 'compensating')
               and updated_at < clock_timestamp() - make_interval(secs => $2 / 1000.0) for no key update skip locked) returning *`,
            [id, olderThanMs],
          )
          if (!row) return
          await dispatches.withdraw(tx, { runId: id, number: row.dispatch - 1 })
          await dispatches.enqueue(tx, dispatchOf(row))
        })
      return ids.length
    },

    /** Removes runs that ended so long ago, but for those that somebody is steering. Returns how many, at most 1 000. */
    async prune(olderThanMs: number): Promise<number> {
      const rows = await db.query(
        `delete from ${schema}.runs where id in (select id from ${schema}.runs
           where ended_at < clock_timestamp() - make_interval(secs => $1 / 1000.0) and state <> 'dead'
           limit 1000 for update skip locked) returning 1`,
        [olderThanMs],
      )
      return rows.length
    },
  }
}
