import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import type { Event, Events, Subscription } from '@docmesh/events'
import { ANNOUNCED, type Announcement } from './announcements.ts'
import type { Owner } from './model.ts'
import { ANONYMOUS, type Notifications } from './notifications.ts'

const ANNOUNCED_BY_TYPE = new Map(ANNOUNCED.map((announced) => [announced.type.$type, announced]))

export interface SubscriptionOptions {
  readonly events: Events
  readonly notifications: Notifications
  /** Who is told of what concerns the installation. */
  readonly operators: readonly Owner[]
}

/** Events of other services → what this one does about them, in the transaction of the subscription. */
export const subscribeNotifications = ({
  events,
  notifications,
  operators,
}: SubscriptionOptions): Subscription =>
  events.subscribe({
    subscriber: 'notification',
    events: [...ANNOUNCED.map(({ type }) => type), DocumentErased],
    handler: async (event: Event, tx) => {
      if (event.type === DocumentErased.$type)
        return notifications.forget(tx, (event.payload as DocumentErased).documentId)
      const announced = ANNOUNCED_BY_TYPE.get(event.type)
      const announcement = announced?.announce(event)
      if (!announced || !announcement) return
      for (const owner of ownersOf(announcement, event, operators))
        await notifications.tell(tx, {
          ...newsOf(announcement, event),
          ...owner,
          facts: announced.facts(event),
        })
    },
  })

const ownersOf = (
  { to }: Announcement,
  { tenantId }: Event,
  operators: readonly Owner[],
): readonly Owner[] => (to === 'operators' ? operators : [{ tenantId, userId: to.userId || ANONYMOUS }])

const VERSIONS = 1_000_000n

/**
 * Begins and ends of one incident may stand in several histories, each with versions of its own: the supervisor writes
 * one per run. So the time goes first, and the version decides within a millisecond.
 */
const orderOf = ({ occurredAt, version }: Event): bigint =>
  BigInt(occurredAt.getTime()) * VERSIONS + (version % VERSIONS)

const newsOf = (announcement: Announcement, event: Event) => {
  const { severity, subject, documentId, locale, onlyIfNamed, incident, text } = announcement
  return {
    eventId: event.id,
    eventType: event.type,
    correlationId: event.correlationId,
    subjectType: subject.type,
    subjectId: subject.id,
    documentId,
    severity,
    locale,
    onlyIfNamed,
    incident: incident ? `${subject.type}/${subject.id}` : '',
    incidentVersion: orderOf(event),
    resolves: incident === 'ends',
    text,
  }
}
