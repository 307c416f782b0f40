import { createHash } from 'node:crypto'
import type { Listener, Postgres, Queryable } from '@docmesh/postgres'
import type {
  Claimed,
  Delivery,
  DeliveryState,
  Ending,
  NewDelivery,
  NewNotification,
  Notification,
  Owner,
} from './model.ts'
import type { Channel, ChannelPreference, Preferences, QuietHours } from './preferences.ts'

export type Tx = Queryable
export type NotificationStore = ReturnType<typeof notificationStore>

const NEWS = 'docmesh_notification'
const WORK = 'work'

/** Names a feed in the news. */
export const feedKey = ({ tenantId, userId }: Owner): string =>
  createHash('sha256')
    .update(JSON.stringify([tenantId, userId]))
    .digest('base64url')

const NOTIFICATION = `n.id, n.tenant_id as "tenantId", n.user_id as "userId", n.seq, n.event_type as "eventType",
  n.subject_type as "subjectType", n.subject_id as "subjectId", n.title, n.body, n.locale,
  n.created_at as "createdAt", n.read_at as "readAt"`

const DELIVERY = `d.id, d.notification_id as "notificationId", d.channel, d.destination, d.state, d.attempts,
  d.last_error as "lastError", d.next_attempt_at as "nextAttemptAt", d.delivered_at as "deliveredAt",
  d.created_at as "createdAt"`

const OWN_DELIVERIES = `from deliveries d join notifications n on n.id = d.notification_id
  where n.tenant_id = $1 and n.user_id = $2`

const MS = `interval '1 millisecond'`

/** All SQL of the notification service. Due times and leases go by the clock of the database: instances may disagree. */
export const notificationStore = (db: Postgres) => ({
  transaction: <T>(fn: (tx: Tx) => Promise<T>): Promise<T> => db.transaction(fn),

  /** False when the event was told to this user already. */
  async insert(tx: Tx, notification: NewNotification, deliveries: readonly NewDelivery[]): Promise<boolean> {
    const n = notification
    const inserted = await tx.query(
      `with feed as (
         insert into feeds (tenant_id, user_id, last_seq) values ($2, $3, 1)
         on conflict (tenant_id, user_id) do update set last_seq = feeds.last_seq + 1 returning last_seq
       )
       insert into notifications (id, tenant_id, user_id, seq, event_id, correlation_id, event_type, subject_type,
         subject_id, document_id, title, body, locale, in_feed)
       select $1, $2, $3, last_seq, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 from feed
       on conflict (tenant_id, user_id, event_id) do nothing
       returning pg_notify('${NEWS}', $14)`,
      [
        n.id,
        n.tenantId,
        n.userId,
        n.eventId,
        n.correlationId,
        n.eventType,
        n.subjectType,
        n.subjectId,
        n.documentId,
        n.title,
        n.body,
        n.locale,
        n.inFeed,
        feedKey(n),
      ],
    )
    if (inserted.length === 0) return false
    for (const { id, channel, destination } of deliveries)
      await tx.query(
        `insert into deliveries (id, notification_id, channel, destination) values ($1, $2, $3, $4)`,
        [id, n.id, channel, destination],
      )
    return true
  },

  /** Makes the news and the erasure of one document wait for each other; true when it was erased. */
  async lockDocument(tx: Tx, documentId: string): Promise<boolean> {
    await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`notification:${documentId}`])
    const erased = await tx.query('select from erased_documents where document_id = $1', [documentId])
    return erased.length > 0
  },

  /** After {@link lockDocument}. */
  async erase(tx: Tx, documentId: string): Promise<void> {
    await tx.query('insert into erased_documents (document_id) values ($1) on conflict do nothing', [
      documentId,
    ])
    await tx.query('delete from notifications where document_id = $1', [documentId])
  },

  /** Newest first, below `before`. */
  list: (
    { tenantId, userId }: Owner,
    { before, unreadOnly, limit }: { before: bigint | undefined; unreadOnly: boolean; limit: number },
  ): Promise<Notification[]> =>
    db.query<Notification>(
      `select ${NOTIFICATION} from notifications n
       where tenant_id = $1 and user_id = $2 and in_feed and ($3::bigint is null or seq < $3)
         and not ($4 and read_at is not null)
       order by seq desc limit $5`,
      [tenantId, userId, before ?? null, unreadOnly, limit],
    ),

  /** Oldest first, above `after`. */
  listAfter: ({ tenantId, userId }: Owner, after: bigint, limit: number): Promise<Notification[]> =>
    db.query<Notification>(
      `select ${NOTIFICATION} from notifications n
       where tenant_id = $1 and user_id = $2 and in_feed and seq > $3 order by seq limit $4`,
      [tenantId, userId, after, limit],
    ),

  /** Where the feed of a user ends. */
  async lastSeq({ tenantId, userId }: Owner): Promise<bigint> {
    const [feed] = await db.query<{ last_seq: bigint }>(
      'select last_seq from feeds where tenant_id = $1 and user_id = $2',
      [tenantId, userId],
    )
    return feed?.last_seq ?? 0n
  },

  async seqOf({ tenantId, userId }: Owner, id: string): Promise<bigint | undefined> {
    const [notification] = await db.query<{ seq: bigint }>(
      'select seq from notifications where tenant_id = $1 and user_id = $2 and id = $3',
      [tenantId, userId, id],
    )
    return notification?.seq
  },

  async unreadCount({ tenantId, userId }: Owner): Promise<number> {
    const [row] = await db.query<{ count: number }>(
      `select count(*)::int as count from notifications
       where tenant_id = $1 and user_id = $2 and in_feed and read_at is null`,
      [tenantId, userId],
    )
    return row?.count ?? 0
  },

  /** Without ids: all of them. */
  async markRead({ tenantId, userId }: Owner, ids: readonly string[]): Promise<void> {
    await db.query(
      `update notifications set read_at = now()
       where tenant_id = $1 and user_id = $2 and in_feed and read_at is null
         and (cardinality($3::text[]) = 0 or id = any ($3))`,
      [tenantId, userId, ids],
    )
  },

  async preferences({ tenantId, userId }: Owner, on: Tx = db): Promise<Preferences | undefined> {
    const [row] = await on.query<{
      locale: string
      channels: ChannelPreference[]
      quiet_hours: QuietHours | null
    }>('select locale, channels, quiet_hours from preferences where tenant_id = $1 and user_id = $2', [
      tenantId,
      userId,
    ])
    return row && { locale: row.locale, channels: row.channels, quietHours: row.quiet_hours ?? undefined }
  },

  async putPreferences({ tenantId, userId }: Owner, preferences: Preferences): Promise<void> {
    const { locale, channels, quietHours } = preferences
    await db.query(
      `insert into preferences (tenant_id, user_id, locale, channels, quiet_hours) values ($1, $2, $3, $4, $5)
       on conflict (tenant_id, user_id) do update set locale = excluded.locale, channels = excluded.channels,
         quiet_hours = excluded.quiet_hours`,
      [
        tenantId,
        userId,
        locale,
        JSON.stringify(channels),
        quietHours === undefined ? null : JSON.stringify(quietHours),
      ],
    )
  },

  /** Newest first, below the id `before`; empty filters let everything pass. */
  listDeliveries: (
    { tenantId, userId }: Owner,
    {
      before,
      notificationId,
      states,
      limit,
    }: { before: string; notificationId: string; states: readonly DeliveryState[]; limit: number },
  ): Promise<Delivery[]> =>
    db.query<Delivery>(
      `select ${DELIVERY} ${OWN_DELIVERIES} and ($3 = '' or d.id < $3) and ($4 = '' or n.id = $4)
         and (cardinality($5::text[]) = 0 or d.state = any ($5))
       order by d.id desc limit $6`,
      [tenantId, userId, before, notificationId, states, limit],
    ),

  async delivery({ tenantId, userId }: Owner, id: string): Promise<Delivery | undefined> {
    const [delivery] = await db.query<Delivery>(`select ${DELIVERY} ${OWN_DELIVERIES} and d.id = $3`, [
      tenantId,
      userId,
      id,
    ])
    return delivery
  },

  async deliveryOfEvent({ tenantId, userId }: Owner, eventId: string): Promise<Delivery | undefined> {
    const [delivery] = await db.query<Delivery>(`select ${DELIVERY} ${OWN_DELIVERIES} and n.event_id = $3`, [
      tenantId,
      userId,
      eventId,
    ])
    return delivery
  },

  /** Gives a failed delivery all its attempts again; false when it did not fail. A repeated request changes nothing. */
  async retry({ tenantId, userId }: Owner, id: string, requestId: string): Promise<boolean> {
    const retried = await db.query(
      `with retried as (
         update deliveries d set state = 'pending', attempts = 0, next_attempt_at = now(), retry_request_id = $4
         from notifications n
         where d.id = $3 and n.id = d.notification_id and n.tenant_id = $1 and n.user_id = $2 and d.state = 'failed'
           and ($4 = '' or d.retry_request_id is distinct from $4)
         returning d.id
       ), told as (select pg_notify('${NEWS}', '${WORK}') from retried)
       select id from retried left join told on true
       union select id from deliveries where id = $3 and $4 <> '' and retry_request_id = $4`,
      [tenantId, userId, id, requestId],
    )
    return retried.length > 0
  },

  /** Takes the delivery that is due longest, or the one with the given id, for `ms`. */
  async claim(
    { leaseId, ms }: { leaseId: string; ms: number },
    { channels, deliveryId = '', on = db }: { channels: readonly Channel[]; deliveryId?: string; on?: Tx },
  ): Promise<Claimed | undefined> {
    const [claimed] = await on.query<Claimed>(
      `with due as (
         select id from deliveries
         where state = 'pending' and next_attempt_at <= now() and channel = any ($3)
           and (lease_until is null or lease_until <= now()) and ($4 = '' or id = $4)
         order by next_attempt_at limit 1 for update skip locked
       ), d as (
         update deliveries set lease_id = $1, lease_until = now() + $2 * ${MS}
         from due where deliveries.id = due.id returning deliveries.*
       )
       select d.id, d.channel, d.destination, d.attempts, d.lease_id as "leaseId", n.id as "notificationId",
         n.event_id as "eventId", n.correlation_id as "correlationId", n.tenant_id as "tenantId",
         n.user_id as "userId", n.title, n.body, n.locale, n.subject_type as "subjectType",
         n.subject_id as "subjectId", p.quiet_hours as "quietHours"
       from d join notifications n on n.id = d.notification_id
       left join preferences p on p.tenant_id = n.tenant_id and p.user_id = n.user_id`,
      [leaseId, ms, channels, deliveryId],
    )
    return claimed
  },

  /** Records how a claim ended; false when it is no longer this worker's: taken over after the lease, or erased. */
  async end(tx: Tx, { id, leaseId }: Claimed, ending: Ending): Promise<boolean> {
    const done = ending.state === 'delivered' || ending.state === 'failed'
    const ended = await tx.query(
      `update deliveries set state = $3, attempts = attempts + $4, last_error = coalesce($5, last_error),
         next_attempt_at = now() + $6 * ${MS}, delivered_at = case when $3 = 'delivered' then now() end,
         lease_id = null, lease_until = null
       where id = $1 and lease_id = $2 returning id`,
      [
        id,
        leaseId,
        done ? ending.state : 'pending',
        ending.state === 'postponed' ? 0 : 1,
        ending.state === 'postponed' ? null : 'error' in ending ? ending.error : '',
        'afterMs' in ending ? ending.afterMs : null,
      ],
    )
    return ended.length > 0
  },

  /** Deliveries that should have been tried more than `ms` ago and that nobody works on. */
  async overdue(ms: number): Promise<number> {
    const [row] = await db.query<{ count: number }>(
      `select count(*)::int as count from deliveries
       where state = 'pending' and greatest(next_attempt_at, lease_until) < now() - $1 * ${MS}`,
      [ms],
    )
    return row?.count ?? 0
  },

  /** Hears the key of each feed that has something new, `work` for work alone, and '' when news may have been lost. */
  listen: (onNews: (key: string) => void): Promise<Listener> => db.listen(NEWS, onNews),
})
