import type { Channel, QuietHours } from './preferences.ts'

/** Whose feed it is. */
export interface Owner {
  readonly tenantId: string
  readonly userId: string
}

export interface Notification extends Owner {
  readonly id: string
  /** Place in the feed of its user. */
  readonly seq: bigint
  readonly eventType: string
  readonly subjectType: string
  readonly subjectId: string
  readonly title: string
  readonly body: string
  readonly locale: string
  readonly createdAt: Date
  readonly readAt: Date | null
}

export interface NewNotification extends Omit<Notification, 'seq' | 'createdAt' | 'readAt'> {
  readonly eventId: string
  readonly correlationId: string
  readonly documentId: string
  readonly inFeed: boolean
}

export interface NewDelivery {
  readonly id: string
  readonly channel: Channel
  readonly destination: string
}

export type DeliveryState = 'pending' | 'delivered' | 'failed'

export interface Delivery extends NewDelivery {
  readonly notificationId: string
  readonly state: DeliveryState
  readonly attempts: number
  readonly lastError: string
  readonly nextAttemptAt: Date | null
  readonly deliveredAt: Date | null
  readonly createdAt: Date
}

/** A delivery that one worker holds until its lease ends. */
export interface Claimed
  extends NewDelivery,
    Owner,
    Pick<Notification, 'title' | 'body' | 'locale' | 'subjectType' | 'subjectId'> {
  readonly leaseId: string
  readonly notificationId: string
  readonly eventId: string
  readonly correlationId: string
  /** Before this one. */
  readonly attempts: number
  readonly quietHours: QuietHours | null
}

/** How a claim ends. A postponed delivery was not tried. */
export type Ending =
  | { readonly state: 'delivered' }
  | { readonly state: 'failed'; readonly error: string }
  | { readonly state: 'retry'; readonly error: string; readonly afterMs: number }
  | { readonly state: 'postponed'; readonly afterMs: number }
