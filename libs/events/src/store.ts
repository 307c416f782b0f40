import { randomUUID } from 'node:crypto'
import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Queryable } from '@docmesh/postgres'
import type { Event, MessageType } from './message.ts'

/** Channel on which writers say that there is something new: the event's type, or '' for anything. */
export const CHANNEL = 'docmesh_events'

export type PublishOptions = {
  aggregateType: string
  aggregateId: string
  /** Version the aggregate must have now, 0n for a new one. Default: whatever it has. */
  expectedVersion?: bigint
  /** Default: the id of this event, which starts a chain. */
  correlationId?: string
  causationId?: string
  userId?: string
  tenantId?: string
  traceparent?: string
}

export type Publish = <T, Name extends string>(
  tx: Queryable,
  type: MessageType<T, Name>,
  payload: T,
  options: PublishOptions,
) => Promise<Event<T, Name>>

/** Somebody else changed the aggregate first: read it again, decide again. */
export class ConcurrencyError extends Error {
  override readonly name = 'ConcurrencyError'
}

type Appended = { version: bigint; occurred_at: Date }

const append = (tx: Queryable, envelope: Omit<EventEnvelope, 'version' | 'occurredAt'>, expected?: bigint) =>
  tx.query<Appended>(
    `with appended as (
      insert into events.log (id, type, aggregate_type, aggregate_id, version, correlation_id, causation_id, user_id,
        tenant_id, traceparent, payload)
      select $1, $2, $3, $4, latest.version + 1, $5, $6, $7, $8, $9, $10
      from (select coalesce(max(version), 0) as version from events.log
            where aggregate_type = $3 and aggregate_id = $4) latest
      where $11::bigint is null or latest.version = $11
      on conflict (aggregate_type, aggregate_id, version) do nothing
      returning version, occurred_at, type
    )
    select version, occurred_at, pg_notify('${CHANNEL}', type) from appended`,
    [
      envelope.id,
      envelope.type,
      envelope.aggregateType,
      envelope.aggregateId,
      envelope.correlationId,
      envelope.causationId,
      envelope.userId,
      envelope.tenantId,
      envelope.traceparent,
      envelope.payload,
      expected ?? null,
    ],
  )

/**
 * Records that something happened, in the transaction of the change itself: both commit or neither does. Subscribers
 * hear of it after the commit.
 */
export const publish: Publish = async (tx, type, payload, options) => {
  const { aggregateType, aggregateId, expectedVersion } = options
  const id = randomUUID()
  const envelope = {
    id,
    type: type.$type,
    aggregateType,
    aggregateId,
    correlationId: options.correlationId ?? id,
    causationId: options.causationId ?? '',
    userId: options.userId ?? '',
    tenantId: options.tenantId ?? '',
    traceparent: options.traceparent ?? '',
    payload: Buffer.from(type.encode(payload).finish()),
  }
  // Without an expectation writers queue up; a statement of its own, so that the next one sees who was before us.
  if (expectedVersion === undefined)
    await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 1))', [
      `${aggregateType}:${aggregateId}`,
    ])
  const [appended] = await append(tx, envelope, expectedVersion)
  if (appended === undefined)
    throw new ConcurrencyError(
      `${aggregateType} ${aggregateId} is no longer at version ${expectedVersion ?? 'read'}: read it again and retry`,
    )
  return { ...envelope, version: appended.version, occurredAt: appended.occurred_at, payload }
}

export type Erase = (tx: Queryable, aggregateType: string, aggregateId: string) => Promise<void>

/**
 * Forgets what has been said of one aggregate so far, and on whose behalf: payloads and users go, the fact that
 * something happened stays. Subscribers that have not had these events yet never get them.
 */
export const erase: Erase = async (tx, aggregateType, aggregateId) => {
  const erased = await tx.query<{ id: string }>(
    `update events.log set payload = '', user_id = '' where aggregate_type = $1 and aggregate_id = $2 returning id`,
    [aggregateType, aggregateId],
  )
  // A statement of its own, so that it sees the dead letters of those whom the first one had to wait for.
  await tx.query('delete from events.dead_letters where event_id = any($1)', [erased.map(({ id }) => id)])
}

type Row = {
  id: string
  type: string
  aggregate_type: string
  aggregate_id: string
  version: bigint
  occurred_at: Date
  correlation_id: string
  causation_id: string
  user_id: string
  tenant_id: string
  traceparent: string
  payload: Buffer
}

const COLUMNS = `log.id, log.type, log.aggregate_type, log.aggregate_id, log.version, log.occurred_at,
  log.correlation_id, log.causation_id, log.user_id, log.tenant_id, log.traceparent, log.payload`

const toEnvelope = (row: Row): EventEnvelope => ({
  id: row.id,
  type: row.type,
  aggregateType: row.aggregate_type,
  aggregateId: row.aggregate_id,
  version: row.version,
  occurredAt: row.occurred_at,
  correlationId: row.correlation_id,
  causationId: row.causation_id,
  userId: row.user_id,
  tenantId: row.tenant_id,
  traceparent: row.traceparent,
  payload: row.payload,
})

/** Everything that happened to one aggregate, oldest first. */
export const history = async (
  db: Queryable,
  aggregateType: string,
  aggregateId: string,
): Promise<EventEnvelope[]> => {
  const rows = await db.query<Row>(
    `select ${COLUMNS} from events.log where aggregate_type = $1 and aggregate_id = $2 order by version`,
    [aggregateType, aggregateId],
  )
  return rows.map(toEnvelope)
}

/** A place in the order of readers: transaction id, then position. */
export type Place = { xid: string; position: bigint }

/** An event of the log, where it stands, and whether every transaction that could come before it has ended. */
export type Logged = Place & { envelope: EventEnvelope; settled: boolean }

/** The next events behind a cursor, of one type or of all, in the order in which every reader sees them. */
export const readAfterCursor = async (
  tx: Queryable,
  cursor: string,
  { type, limit }: { type?: string; limit: number },
): Promise<Logged[]> => {
  const rows = await tx.query<Row & { xid: string; position: bigint; settled: boolean }>(
    `select ${COLUMNS}, log.xid::text, log.position,
       log.xid < pg_snapshot_xmin(pg_current_snapshot()) as settled
     from events.log
     where ${type === undefined ? '$2::text is null' : 'log.type = $2'}
       and (log.xid, log.position) > (
         coalesce((select xid from events.cursors where name = $1), '0'),
         coalesce((select position from events.cursors where name = $1), 0))
     order by log.xid, log.position
     limit $3`,
    [cursor, type ?? null, limit],
  )
  return rows.map((row) => ({
    envelope: toEnvelope(row),
    xid: row.xid,
    position: row.position,
    settled: row.settled,
  }))
}

/** The next settled events of a type behind one of them, in the order in which every reader sees them. */
export const readAfterEvent = async (
  tx: Queryable,
  { id, type }: { id: string; type: string },
  limit: number,
): Promise<EventEnvelope[]> => {
  const rows = await tx.query<Row>(
    `select ${COLUMNS}
     from events.log
     where log.type = $2 and log.xid < pg_snapshot_xmin(pg_current_snapshot())
       and (log.xid, log.position) > (
         (select xid from events.log where id = events.log_id($1)),
         (select position from events.log where id = events.log_id($1)))
     order by log.xid, log.position
     limit $3`,
    [id, type, limit],
  )
  return rows.map(toEnvelope)
}

export type Range = {
  /** Full message names; none for all. */
  types?: readonly string[]
  aggregateId?: string
  after: Place
  /** Only of transactions before this one. */
  beforeXid: string
  fromPosition?: bigint | undefined
  toPosition?: bigint
  /** Only what this snapshot sees. */
  seenBy?: string
  /** Only what this snapshot does not see. */
  unseenBy?: string
  limit: number
}

/** The next events in some part of the log, in the order in which every reader sees them. */
export const readRange = async (
  db: Queryable,
  {
    types = [],
    aggregateId = '',
    after,
    beforeXid,
    fromPosition,
    toPosition,
    seenBy,
    unseenBy,
    limit,
  }: Range,
): Promise<(Place & { envelope: EventEnvelope })[]> => {
  const rows = await db.query<Row & Place>(
    `select ${COLUMNS}, log.xid::text, log.position
     from events.log
     where (log.xid, log.position) > ($1::xid8, $2) and log.xid < $3::xid8
       and (cardinality($4::text[]) = 0 or log.type = any($4)) and ($5 = '' or log.aggregate_id = $5)
       and ($6::bigint is null or log.position >= $6) and ($7::bigint is null or log.position <= $7)
       and ($8::pg_snapshot is null or pg_visible_in_snapshot(log.xid, $8))
       and ($9::pg_snapshot is null or not pg_visible_in_snapshot(log.xid, $9))
     order by log.xid, log.position
     limit $10`,
    [
      after.xid,
      after.position,
      beforeXid,
      types,
      aggregateId,
      fromPosition ?? null,
      toPosition ?? null,
      seenBy ?? null,
      unseenBy ?? null,
      limit,
    ],
  )
  return rows.map((row) => ({ envelope: toEnvelope(row), xid: row.xid, position: row.position }))
}

export const moveCursor = async (tx: Queryable, cursor: string, { xid, position }: Place): Promise<void> => {
  await tx.query(
    `insert into events.cursors (name, xid, position) values ($1, $2, $3)
     on conflict (name) do update set xid = excluded.xid, position = excluded.position`,
    [cursor, xid, position],
  )
}

/** One holder at a time per name, until the transaction ends; takes no transaction id, so it holds up no reader. */
export const tryLock = async (tx: Queryable, name: string): Promise<boolean> => {
  const [row] = await tx.query<{ locked: boolean }>(
    'select pg_try_advisory_xact_lock(hashtextextended($1, 2)) as locked',
    [name],
  )
  return row?.locked ?? false
}
