import type { OutsideChannel, QuietHours } from './preferences.ts'

/** Whose feed it is. */
export interface Owner {
  readonly tenantId: string
  readonly userId: string
}

/** How much it matters to be told at once: `info` can wait for a digest, `critical` does not wait for the morning. */
export type Severity = 'info' | 'warning' | 'error' | 'critical'

/** Something that begins and ends: whoever is called at its begin is told when it is over. */
export interface Incident {
  /** The same for its begin and its end; empty for what is no incident. */
  readonly incident: string
  /** Order of its begins and ends: of two, the higher one is later. */
  readonly incidentVersion: bigint
  /** True for the end. */
  readonly resolves: boolean
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

export interface NewNotification extends Omit<Notification, 'seq' | 'createdAt' | 'readAt'>, Incident {
  readonly eventId: string
  readonly correlationId: string
  readonly documentId: string
  readonly severity: Severity
  /** The event itself, for programs. */
  readonly facts: unknown
  readonly inFeed: boolean
}

export interface NewDelivery {
  readonly id: string
  readonly channel: OutsideChannel
  readonly destination: string
  /** The server that takes it, one name for all that goes there. */
  readonly server: string
  /** Deliveries of one thread go out one after the other, in the order made; empty for alone. */
  readonly thread: string
  /** When it goes out, from now. */
  readonly dueMs: number
}

export type DeliveryState = 'pending' | 'delivered' | 'failed'

export interface Delivery extends Pick<NewDelivery, 'id' | 'channel' | 'destination'> {
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
  extends Pick<NewDelivery, 'id' | 'channel' | 'destination' | 'server'>,
    Omit<NewNotification, 'id' | 'documentId' | 'inFeed' | 'incidentVersion'>,
    Pick<Notification, 'createdAt'> {
  readonly leaseId: string
  readonly notificationId: string
  /** The incident that it tells the begin of has ended since. */
  readonly isOver: boolean
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
