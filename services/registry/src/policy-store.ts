import { TrafficPolicyChanged } from '@docmesh/contracts/registry/v1/events'
import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Publish } from '@docmesh/events'
import type { Postgres, Queryable } from '@docmesh/postgres'
import { rpcError } from '@docmesh/rpc'

/** Tells the other replicas that there is something to read. */
const CHANNEL = 'docmesh_policies'

interface Row {
  service: string
  policy: Buffer
  revision: bigint
  request_id: string
}

/** All SQL of the traffic policies. */
export interface PolicyStore {
  /** Every policy with its etag; `revision` is 0: it belongs to the memory of each replica. */
  all(): Promise<TrafficPolicy[]>
  /**
   * The policy as stored. The same request again changes nothing. Throws STALE_ETAG when the policy has a non-empty
   * etag that is not that of the present one.
   */
  put(policy: TrafficPolicy, requestId: string): Promise<TrafficPolicy>
  /** A missing policy is no error. */
  delete(service: string): Promise<void>
  /** Calls back after every change, also of other replicas, and when changes may have been missed. */
  listen(onNews: () => void): Promise<{ close(): Promise<void> }>
}

export interface PolicyStoreDeps {
  readonly db: Pick<Postgres, 'query' | 'transaction' | 'listen'>
  readonly publish: Publish
  readonly clock: () => Date
}

export function policyStore({ db, publish, clock }: PolicyStoreDeps): PolicyStore {
  /** In one transaction with what it does to the table; the caller holds the table. */
  async function announce(tx: Queryable, service: string, revision: bigint): Promise<void> {
    await publish(
      tx,
      TrafficPolicyChanged,
      { service, revision },
      { aggregateType: 'traffic_policy', aggregateId: service },
    )
    await tx.query('select pg_notify($1, $2)', [CHANNEL, service])
  }

  return {
    async all() {
      const rows = await db.query<Row>('select service, policy, revision from policies order by service')
      return rows.map(policyOf)
    },
    put: (policy, requestId) =>
      db.transaction(async (tx) => {
        await takeTurn(tx)
        const [present] = await tx.query<Row>('select * from policies where service = $1', [policy.service])
        if (present && requestId !== '' && present.request_id === requestId) return policyOf(present)
        if (policy.etag !== '' && policy.etag !== etagOf(present)) {
          throw rpcError('STALE_ETAG', `The policy of ${policy.service} was changed since it was read.`, {
            resource: { type: 'traffic_policy', name: policy.service },
          })
        }
        const content = Buffer.from(TrafficPolicy.encode({ ...policy, etag: '', revision: 0n }).finish())
        const [stored] = await tx.query<Row>(
          `insert into policies (service, policy, revision, request_id, updated_at)
           values ($1, $2, nextval('policy_revisions'), $3, $4)
           on conflict (service) do update set policy = excluded.policy, revision = excluded.revision,
             request_id = excluded.request_id, updated_at = excluded.updated_at
           returning *`,
          [policy.service, content, requestId, clock()],
        )
        if (!stored) throw new Error(`the policy of ${policy.service} was not stored`)
        await announce(tx, policy.service, stored.revision)
        return policyOf(stored)
      }),
    delete: (service) =>
      db.transaction(async (tx) => {
        await takeTurn(tx)
        const [deleted] = await tx.query<{ revision: bigint }>(
          `delete from policies where service = $1 returning nextval('policy_revisions') as revision`,
          [service],
        )
        if (deleted) await announce(tx, service, deleted.revision)
      }),
    listen: (onNews) => db.listen(CHANNEL, onNews),
  }
}

/** Policies change rarely: one writer at a time, which readers do not wait for. */
async function takeTurn(tx: Queryable): Promise<void> {
  await tx.query('lock table policies in share row exclusive mode')
}

const etagOf = (row: Row | undefined): string | undefined => row && String(row.revision)

const policyOf = (row: Row): TrafficPolicy => ({
  ...TrafficPolicy.decode(row.policy),
  etag: String(row.revision),
})
