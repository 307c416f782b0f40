import type { Queryable } from '@docmesh/postgres'
import type { State } from './member.ts'

/** What is told of an instance. */
export interface Sighting {
  readonly instanceId: string
  readonly incarnation: bigint
  readonly at: Date
}

/** All SQL that decides which replica tells of a change. Each answers whether this one is the first. */
export interface EventStore {
  /** Listed for the first time, or again after it was gone. */
  joined(tx: Queryable, sighting: Sighting, state: State): Promise<boolean>
  changed(tx: Queryable, sighting: Sighting, state: State): Promise<boolean>
  /** Answers undefined when this one is not the first; else whether it was told of that the instance is unhealthy. */
  left(tx: Queryable, sighting: Sighting): Promise<{ readonly unhealthy: boolean } | undefined>
  health(tx: Queryable, sighting: Sighting, unhealthy: boolean): Promise<boolean>
  report(tx: Queryable, key: string): Promise<boolean>
  /** Forgets what no replica can tell of again. */
  forget(tx: Queryable): Promise<void>
}

const UPSERT = `insert into registry.instances (instance_id, incarnation, changed_at, state)
  values ($1, $2, $3, $4)
  on conflict (instance_id) do update set incarnation = excluded.incarnation, changed_at = excluded.changed_at,
    state = excluded.state, unhealthy = instances.unhealthy and instances.incarnation = excluded.incarnation
  where instances.incarnation < excluded.incarnation
    or (instances.incarnation = excluded.incarnation and instances.changed_at <= excluded.changed_at`

export const eventStore: EventStore = {
  joined: (tx, { instanceId, incarnation, at }, state) =>
    isFirst(tx, `${UPSERT} and instances.state = 'gone') returning 1`, [instanceId, incarnation, at, state]),
  changed: async (tx, sighting, state) => (await change(tx, sighting, state)) !== undefined,
  left: (tx, sighting) => change(tx, sighting, 'gone'),
  health: (tx, { instanceId, incarnation }, unhealthy) =>
    isFirst(
      tx,
      `update registry.instances set unhealthy = $3
       where instance_id = $1 and incarnation = $2 and unhealthy <> $3 and state <> 'gone' returning 1`,
      [instanceId, incarnation, unhealthy],
    ),
  report: (tx, key) =>
    isFirst(tx, 'insert into registry.reports (key) values ($1) on conflict do nothing returning 1', [key]),
  async forget(tx) {
    await tx.query(
      `delete from registry.instances where state = 'gone' and changed_at < now() - interval '1 day'`,
    )
    await tx.query(`delete from registry.reports where reported_at < now() - interval '1 day'`)
  },
}

async function change(
  tx: Queryable,
  { instanceId, incarnation, at }: Sighting,
  state: State | 'gone',
): Promise<{ readonly unhealthy: boolean } | undefined> {
  const [row] = await tx.query<{ unhealthy: boolean }>(
    `${UPSERT} and instances.state not in ('gone', excluded.state)) returning unhealthy`,
    [instanceId, incarnation, at, state],
  )
  return row
}

const isFirst = async (tx: Queryable, sql: string, values: readonly unknown[]): Promise<boolean> =>
  (await tx.query(sql, values)).length > 0
