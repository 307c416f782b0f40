import { createHash } from 'node:crypto'
import type { Listener, Postgres } from '@docmesh/postgres'
import { deliveryStore, MS, NEWS, type Tx } from './delivery-store.ts'
import type { NewDelivery, NewNotification, Notification, Owner } from './model.ts'
import type { ChannelPreference, DigestFrequency, Preferences, QuietHours } from './preferences.ts'

export type NotificationStore = ReturnType<typeof notificationStore>

/** Names a feed in the news. */
export const feedKey = ({ tenantId, userId }: Owner): string =>
  createHash('sha256')
    .update(JSON.stringify([tenantId, userId]))
    .digest('base64url')

const NOTIFICATION = `n.id, n.tenant_id as "tenantId", n.user_id as "userId", n.seq, n.event_type as "eventType",
  n.subject_type as "subjectType", n.subject_id as "subjectId", n.title, n.body, n.locale,
  n.created_at as "createdAt", n.read_at as "readAt"`

/** All SQL of the notification service. Due times and leases go by the clock of the database: instances may disagree. */
export const notificationStore = (db: Postgres) => ({
  ...deliveryStore(db),

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
         subject_id, document_id, title, body, locale, in_feed, severity, incident, incident_version, resolves, facts)
       select $1, $2, $3, last_seq, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18 from feed
       on conflict (tenant_id, user_id, event_id) do nothing
       returning pg_notify('${NEWS}', $19)`,
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
        n.severity,
        n.incident,
        n.incidentVersion,
        n.resolves,
        JSON.stringify(n.facts),
        feedKey(n),
      ],
    )
    if (inserted.length === 0) return false
    for (const { id, channel, destination, server, thread, dueMs } of deliveries)
      await tx.query(
        `insert into deliveries (id, notification_id, channel, destination, server, thread, next_attempt_at)
         values ($1, $2, $3, $4, $5, $6, now() + $7 * ${MS})`,
        [id, n.id, channel, destination, server, thread, dueMs],
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
      digest: DigestFrequency
    }>(
      'select locale, channels, quiet_hours, digest from preferences where tenant_id = $1 and user_id = $2',
      [tenantId, userId],
    )
    if (!row) return undefined
    const { quiet_hours: quietHours, ...rest } = row
    return { ...rest, quietHours: quietHours ?? undefined }
  },

  async putPreferences({ tenantId, userId }: Owner, preferences: Preferences): Promise<void> {
    const { locale, channels, quietHours, digest } = preferences
    await db.query(
      `insert into preferences (tenant_id, user_id, locale, channels, quiet_hours, digest)
       values ($1, $2, $3, $4, $5, $6)
       on conflict (tenant_id, user_id) do update set locale = excluded.locale, channels = excluded.channels,
         quiet_hours = excluded.quiet_hours, digest = excluded.digest`,
      [
        tenantId,
        userId,
        locale,
        JSON.stringify(channels),
        quietHours === undefined ? null : JSON.stringify(quietHours),
        digest,
      ],
    )
  },

  /** Hears the key of each feed that has something new, `work` for work alone, and '' when news may have been lost. */
  listen: (onNews: (key: string) => void): Promise<Listener> => db.listen(NEWS, onNews),
})
