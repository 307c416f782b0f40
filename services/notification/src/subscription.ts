import { AnalysisCompleted, AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import type { Event, EventOf, Events, Subscription } from '@docmesh/events'
import { ANONYMOUS, type News, type Notifications } from './notifications.ts'
import { completedText, failedText } from './templates.ts'

const EVENTS = [AnalysisCompleted, AnalysisFailed, DocumentErased] as const

/** Events of other services → what this one does about them, in the transaction of the subscription. */
export const subscribeNotifications = (events: Events, notifications: Notifications): Subscription =>
  events.subscribe<(typeof EVENTS)[number]>({
    subscriber: 'notification',
    events: EVENTS,
    handler: async (event: EventOf<(typeof EVENTS)[number]>, tx) => {
      if (event.type === DocumentErased.$type) return notifications.forget(tx, event.payload.documentId)
      if (!event.payload.notify) return
      const text: News['text'] =
        event.type === AnalysisCompleted.$type
          ? (language) => completedText(event.payload, language)
          : (language) => failedText(event.payload, language)
      await notifications.tell(tx, { ...newsOf(event), text })
    },
  })

const newsOf = (event: Event<AnalysisCompleted | AnalysisFailed>): Omit<News, 'text'> => ({
  eventId: event.id,
  eventType: event.type,
  correlationId: event.correlationId,
  tenantId: event.tenantId,
  userId: event.payload.requestedBy || ANONYMOUS,
  subjectType: 'analysis',
  subjectId: event.payload.analysisId,
  documentId: event.payload.documentId,
  locale: event.payload.locale,
})
