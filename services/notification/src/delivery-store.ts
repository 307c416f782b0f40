import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Claimed, Delivery, DeliveryState, Ending, NewDelivery, Owner } from './model.ts'
import type { OutsideChannel } from './preferences.ts'

export type Tx = Queryable

/** Where instances tell each other that there is something new. */
export const NEWS = 'docmesh_notification'
const WORK = 'work'

export const MS = `interval '1 millisecond'`

const DELIVERY = `d.id, d.notification_id as "notificationId", d.channel, d.destination, d.state, d.attempts,
  d.last_error as "lastError", d.next_attempt_at as "nextAttemptAt", d.delivered_at as "deliveredAt",
  d.created_at as "createdAt"`

/** Nothing of its thread has to go out before it. */
const FIRST_OF_THREAD = `(thread = '' or not exists (select from deliveries before
  where before.thread = d.thread and before.state = 'pending' and before.id < d.id))`

const OWN_DELIVERIES = `from deliveries d join notifications n on n.id = d.notification_id
  where n.tenant_id = $1 and n.user_id = $2`

/** SQL of what goes outside. */
export const deliveryStore = (db: Postgres) => ({
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

  /** Takes the delivery that is due longest, or the one with the given id, for `ms`; none that goes to `except`. */
  async claim(
    { leaseId, ms }: { leaseId: string; ms: number },
    {
      channels,
      except = [],
      deliveryId = '',
      on = db,
    }: {
      channels: readonly OutsideChannel[]
      except?: readonly string[]
      deliveryId?: string
      on?: Tx
    },
  ): Promise<Claimed | undefined> {
    const [claimed] = await on.query<Claimed>(
      `with due as (
         select id from deliveries d
         where state = 'pending' and next_attempt_at <= now() and channel = any ($3) and server <> all ($5)
           and (lease_until is null or lease_until <= now()) and ($4 = '' or id = $4)
           and ${FIRST_OF_THREAD}
         order by next_attempt_at limit 1 for update skip locked
       ), d as (
         update deliveries set lease_id = $1, lease_until = now() + $2 * ${MS}
         from due where deliveries.id = due.id returning deliveries.*
       )
       select d.id, d.channel, d.destination, d.server, d.attempts, d.lease_id as "leaseId",
         n.id as "notificationId", n.event_id as "eventId", n.correlation_id as "correlationId",
         n.event_type as "eventType", n.tenant_id as "tenantId", n.user_id as "userId", n.title, n.body, n.locale,
         n.subject_type as "subjectType", n.subject_id as "subjectId", n.severity, n.incident, n.resolves, n.facts,
         n.created_at as "createdAt", p.quiet_hours as "quietHours",
         not n.resolves and n.incident <> '' and exists (select from notifications e
           where e.tenant_id = n.tenant_id and e.user_id = n.user_id and e.incident = n.incident and e.resolves
             and e.incident_version > n.incident_version) as "isOver"
       from d join notifications n on n.id = d.notification_id
       left join preferences p on p.tenant_id = n.tenant_id and p.user_id = n.user_id`,
      [leaseId, ms, channels, deliveryId, except],
    )
    return claimed
  },

  /** Keeps a claim for `ms` from now, if it is still this worker's. */
  async renew({ id, leaseId }: Claimed, ms: number): Promise<void> {
    await db.query(`update deliveries set lease_until = now() + $3 * ${MS} where id = $1 and lease_id = $2`, [
      id,
      leaseId,
      ms,
    ])
  },

  /** Until the transaction ends nobody else says anything of the notification. */
  async lockNotification(tx: Tx, id: string): Promise<void> {
    await tx.query('select from notifications where id = $1 for no key update', [id])
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

  /** Forgets a claimed delivery that there is nothing to send for; false when it is no longer this worker's. */
  async drop({ id, leaseId }: Claimed): Promise<boolean> {
    const dropped = await db.query('delete from deliveries where id = $1 and lease_id = $2 returning id', [
      id,
      leaseId,
    ])
    return dropped.length > 0
  },

  /** Deliveries that should have been tried more than `ms` ago and that nobody works on; none that goes to `except`. */
  async overdue(ms: number, except: readonly string[]): Promise<number> {
    const [row] = await db.query<{ count: number }>(
      `select count(*)::int as count from deliveries d
       where state = 'pending' and greatest(next_attempt_at, lease_until) < now() - $1 * ${MS} and server <> all ($2)
         and ${FIRST_OF_THREAD}`,
      [ms, except],
    )
    return row?.count ?? 0
  },

  /**
   * The digest made for an event id, if more can still be put into it; it now goes where its newest entry would go. It
   * cannot be claimed until `tx` ends, so that whoever sends it sees all of it; one that was claimed before takes
   * nothing more.
   */
  async openDigest(
    tx: Tx,
    { tenantId, userId }: Owner,
    eventId: string,
    { destination, server }: Pick<NewDelivery, 'destination' | 'server'>,
  ): Promise<string | undefined> {
    const [digest] = await tx.query<{ id: string }>(
      `update deliveries d set destination = $4, server = $5 from notifications n
       where n.tenant_id = $1 and n.user_id = $2 and n.event_id = $3 and d.notification_id = n.id
         and d.state = 'pending' and d.attempts = 0 and d.lease_id is null
       returning n.id`,
      [tenantId, userId, eventId, destination, server],
    )
    return digest?.id
  },

  async addToDigest(tx: Tx, digestId: string, notificationId: string): Promise<void> {
    await tx.query('insert into digest_entries (digest_id, notification_id) values ($1, $2)', [
      digestId,
      notificationId,
    ])
  },

  /** Oldest first. */
  async digestTitles(digestId: string): Promise<string[]> {
    const entries = await db.query<{ title: string }>(
      `select n.title from digest_entries e join notifications n on n.id = e.notification_id
       where e.digest_id = $1 order by n.seq`,
      [digestId],
    )
    return entries.map(({ title }) => title)
  },
})
