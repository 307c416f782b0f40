import { NotificationDelivered, NotificationFailed } from '@docmesh/contracts/notification/v1/events'
import type { Publish } from '@docmesh/events'
import { type Backoff, checkRange, createBackoff } from '@docmesh/resilience'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { type Bell, createBell } from './bell.ts'
import type { Outcome, Send } from './email.ts'
import type { Claimed, Ending } from './model.ts'
import { type Channel, quietMs } from './preferences.ts'
import type { NotificationStore } from './store.ts'
import { wireChannel } from './wire.ts'

type Senders = Readonly<Partial<Record<Channel, Send>>>

const ATTEMPTS = 8

export interface DelivererOptions {
  readonly store: NotificationStore
  readonly publish: Publish
  readonly senders: Senders
  readonly metrics: Metrics
  readonly logger: Logger
  /** Default 1 s doubling to 5 min, ±15 %. */
  readonly backoff?: Backoff
  /** Then the delivery has failed; default 8. */
  readonly maxAttempts?: number
}

/** Sends one claimed delivery; what came of it and the event that says so are one transaction. */
export function createDeliverer({
  store,
  publish,
  senders,
  metrics,
  logger,
  backoff = createBackoff({ initialMs: 1_000, maxMs: 300_000 }, Math.random),
  maxAttempts = ATTEMPTS,
}: DelivererOptions): (claimed: Claimed) => Promise<void> {
  checkRange({ maxAttempts }, 1, 100, { whole: true })
  const counter = metrics.counter('docmesh_notification_deliveries_total')

  const endingOf = (outcome: Outcome, attempts: number): Ending => {
    if (outcome.kind === 'delivered') return { state: 'delivered' }
    if (outcome.kind === 'refused') return { state: 'postponed', afterMs: outcome.retryAfterMs }
    const { permanent, error } = outcome
    return permanent || attempts >= maxAttempts
      ? { state: 'failed', error }
      : { state: 'retry', error, afterMs: backoff(attempts) }
  }

  return async (claimed) => {
    const { id, notificationId, channel, tenantId, userId } = claimed
    const send = senders[channel]
    if (!send) throw new Error(`delivery ${id} was claimed without a sender for ${channel}`)
    const ending = endingOf(await send(claimed), claimed.attempts + 1)
    const mine = await store.transaction(async (tx) => {
      if (!(await store.end(tx, claimed, ending))) return false
      const payload = { deliveryId: id, notificationId, channel: wireChannel(channel) }
      const about = {
        aggregateType: 'notification',
        aggregateId: notificationId,
        tenantId,
        userId,
        correlationId: claimed.correlationId,
        causationId: claimed.eventId,
      }
      if (ending.state === 'delivered') await publish(tx, NotificationDelivered, payload, about)
      if (ending.state === 'failed')
        await publish(tx, NotificationFailed, { ...payload, error: ending.error }, about)
      return true
    })
    if (!mine) logger.warn({ delivery: id, ending: ending.state }, 'delivery was erased or taken over')
    if (ending.state === 'retry') logger.warn({ delivery: id, ...ending }, 'delivery is tried again')
    if (ending.state === 'failed') logger.error({ delivery: id, ...ending }, 'delivery failed')
    if (ending.state !== 'postponed') counter.inc({ channel, outcome: OUTCOMES[ending.state] })
  }
}

const OUTCOMES = { delivered: 'delivered', retry: 'failure', failed: 'dead_letter' } as const

export interface WorkerOptions {
  readonly store: NotificationStore
  readonly channels: readonly Channel[]
  readonly deliver: (claimed: Claimed) => Promise<void>
  readonly ids: () => string
  readonly clock: () => Date
  readonly logger: Logger
  /** A claimed delivery of a worker that died goes to another after this time; must exceed the time of one send. */
  readonly leaseMs: number
  /** Deliveries in hand at once, so that a slow mailbox holds up no other; default 4. */
  readonly lanes?: number
  /** Looks this often without being woken; default 1,000. */
  readonly pollMs?: number
}

export interface DeliveryWorker {
  /** Something may be due. */
  wake(): void
  /** Takes no more; resolves when the deliveries in hand are recorded. */
  close(): Promise<void>
}

/** Sends what is due; any number of workers on one database share the work. */
export function startDeliveryWorker({
  store,
  channels,
  deliver,
  ids,
  clock,
  logger,
  leaseMs,
  lanes = 4,
  pollMs = 1_000,
}: WorkerOptions): DeliveryWorker {
  checkRange({ leaseMs, pollMs }, 1, 3_600_000)
  checkRange({ lanes }, 1, 100, { whole: true })
  const closing = new AbortController()
  const bells: Bell[] = Array.from({ length: lanes }, createBell)

  const step = async (): Promise<boolean> => {
    const claimed = await store.claim({ leaseId: ids(), ms: leaseMs }, { channels })
    if (!claimed) return false
    const afterMs = quietMs(clock(), claimed.quietHours ?? undefined)
    if (afterMs > 0) await store.transaction((tx) => store.end(tx, claimed, { state: 'postponed', afterMs }))
    else await deliver(claimed)
    return true
  }

  const run = async (bell: Bell): Promise<void> => {
    while (!closing.signal.aborted) {
      const busy = await step().catch((err: unknown) => {
        logger.error({ err }, 'delivery worker cannot go on')
        return false
      })
      if (!busy) await bell.rest(closing.signal, pollMs)
    }
  }

  const running = Promise.all(bells.map(run))
  return {
    wake: () => {
      for (const bell of bells) bell.ring()
    },
    close: async () => {
      closing.abort()
      await running
    },
  }
}
