import type { Queryable } from '@docmesh/postgres'
import { workPayload } from './changes.ts'

/** The function that the engine knows; which pipeline it runs stands in the run. */
export const RUN_FUNCTION = 'docmesh.run'

export interface Dispatch {
  readonly runId: string
  /** Counts how often the run was queued. Only the latest may begin it. */
  readonly number: number
}

export interface Enqueue extends Dispatch {
  readonly queue: string
  readonly tenant: string
  /** Higher first. */
  readonly rank: number
  readonly appVersion: string
  readonly dueAt: Date | undefined
}

/** As the engine writes times. */
const NOW = '(extract(epoch from clock_timestamp()) * 1000)::bigint'

export const dispatchId = ({ runId, number }: Dispatch): string => `${runId}:${number}`

/**
 * What the engine must do in transactions of ours. Everything that names its tables or SQL functions is here; the
 * version of the engine is pinned, and the integration tests hold these names.
 */
export type Dispatches = ReturnType<typeof createDispatches>

export function createDispatches({
  ours,
  engine,
  channel,
}: {
  ours: string
  engine: string
  channel: string
}) {
  return {
    /** Also wakes the nodes when it commits, but for a delayed one, which they find by looking. */
    async enqueue(
      tx: Queryable,
      { runId, number, queue, tenant, rank, appVersion, dueAt }: Enqueue,
    ): Promise<void> {
      await tx.query(
        `select ${engine}.enqueue_workflow('${RUN_FUNCTION}', $1, array[to_json($2::text), to_json($3::int)], workflow_id => $4,
           app_version => $5, priority => $6, queue_partition_key => $7, delay_until_epoch_ms => $8),
           case when $8::bigint is null then pg_notify($9, $10) end`,
        [
          queue,
          runId,
          number,
          dispatchId({ runId, number }),
          appVersion,
          -rank,
          tenant || '-',
          dueAt ? dueAt.getTime() : null,
          channel,
          workPayload(queue),
        ],
      )
    },

    /** Wakes all nodes: work came back to queues. */
    async wakeNodes(db: Queryable): Promise<void> {
      await db.query('select pg_notify($1, $2)', [channel, workPayload('')])
    },

    /** Nobody begins this dispatch any more; an execution under way learns it at its next write. */
    async withdraw(tx: Queryable, dispatch: Dispatch): Promise<void> {
      await tx.query(
        `update ${engine}.workflow_status set status = 'CANCELLED', owner_xid = null, queue_name = null,
           completed_at = ${NOW}
         where workflow_uuid = $1 and status in ('ENQUEUED', 'DELAYED', 'PENDING')`,
        [dispatchId(dispatch)],
      )
    },

    /** SQL that finds a row while this claim has the dispatch; until the transaction ends nobody can take it over. */
    heldBy: ({ dispatch, claim }: { dispatch: string; claim: string }): string =>
      `select 1 from ${engine}.workflow_status where workflow_uuid = ${dispatch} and owner_xid = ${claim} and status = 'PENDING' for share`,

    /** SQL that ends the dispatch of a run, if the owner of the run still has it. */
    ended: ({ run, claim }: { run: string; claim: string }): string =>
      `update ${engine}.workflow_status set status = 'SUCCESS', owner_xid = null, updated_at = ${NOW}, completed_at = ${NOW}
       from ${run} where workflow_uuid = ${run}.id || ':' || ${run}.dispatch and owner_xid = ${claim} and status = 'PENDING'`,

    /** Executors that have runs of this version in hand and no row among the nodes. */
    async unknownExecutors(db: Queryable, appVersion: string): Promise<string[]> {
      const rows = await db.query<{ executor_id: string }>(
        `select distinct executor_id from ${engine}.workflow_status w where status = 'PENDING' and application_version = $1
           and executor_id is not null and not exists (select from ${ours}.nodes where id = w.executor_id)`,
        [appVersion],
      )
      return rows.map(({ executor_id }) => executor_id)
    },

    /**
     * Open runs that nobody executes: their dispatch is over or gone, because the execution ended without saying so in the
     * run, or this node has it under a claim that it knows nothing of, because the answer to the claim was lost.
     */
    async orphans(
      db: Queryable,
      {
        appVersion,
        node,
        claims,
        olderThanMs,
      }: { appVersion: string; node: string; claims: readonly string[]; olderThanMs: number },
    ): Promise<string[]> {
      const rows = await db.query<{ id: string }>(
        `select r.id from ${ours}.runs r left join ${engine}.workflow_status w on w.workflow_uuid = r.id || ':' || r.dispatch
         where r.state in ('queued', 'running', 'compensating') and r.app_version = $1
           and r.updated_at < clock_timestamp() - make_interval(secs => $2::float8 / 1000)
           and (w.status is null or w.status not in ('ENQUEUED', 'DELAYED', 'PENDING') or (
             w.status = 'PENDING' and w.executor_id = $3 and w.owner_xid <> all ($4) and w.updated_at < ${NOW} - $2::float8))
         limit 100`,
        [appVersion, olderThanMs, node, claims],
      )
      return rows.map(({ id }) => id)
    },

    /** Removes what the engine keeps of dispatches that are over. Returns how many, at most 1 000. */
    async prune(db: Queryable, olderThanMs: number): Promise<number> {
      const rows = await db.query(
        `delete from ${engine}.workflow_status where workflow_uuid in (
           select workflow_uuid from ${engine}.workflow_status where status in ('SUCCESS', 'ERROR', 'CANCELLED',
             'MAX_RECOVERY_ATTEMPTS_EXCEEDED') and completed_at < ${NOW} - $1
           limit 1000) returning 1`,
        [olderThanMs],
      )
      return rows.length
    },
  }
}
