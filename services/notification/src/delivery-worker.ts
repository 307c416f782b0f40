import { NotificationDelivered, NotificationFailed } from '@docmesh/contracts/notification/v1/events'
import type { Publish } from '@docmesh/events'
import { type Backoff, checkRange, createBackoff } from '@docmesh/resilience'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { createBell } from './bell.ts'
import type { Outcome, Senders } from './channel.ts'
import { DIGEST_EVENT } from './digests.ts'
import type { Claimed, Ending } from './model.ts'
import { PAGERS, quietMs } from './preferences.ts'
import type { Refused, Servers } from './servers.ts'
import type { NotificationStore } from './store.ts'
import { digestText } from './templates/own.ts'
import { wireChannel } from './wire.ts'

const ATTEMPTS = 8
/** Of a claim before it would end. */
const RENEWALS = 3

export interface DelivererOptions {
  readonly store: NotificationStore
  readonly publish: Publish
  readonly senders: Senders
  readonly servers: Servers
  readonly metrics: Metrics
  readonly logger: Logger
  /** Of a claim; renewed while the message is on its way. */
  readonly leaseMs: number
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
  servers,
  metrics,
  logger,
  leaseMs,
  backoff = createBackoff({ initialMs: 1_000, maxMs: 300_000 }, Math.random),
  maxAttempts = ATTEMPTS,
}: DelivererOptions): (claimed: Claimed) => Promise<void> {
  checkRange({ maxAttempts }, 1, 100, { whole: true })
  checkRange({ leaseMs }, 1, 3_600_000)
  const counter = metrics.counter('docmesh_notification_deliveries_total')

  const endingOf = (outcome: Outcome | Refused, attempts: number): Ending => {
    if (outcome.kind === 'delivered') return { state: 'delivered' }
    if (outcome.kind === 'refused') return { state: 'postponed', afterMs: outcome.retryAfterMs }
    const { permanent, error, retryAfterMs = 0 } = outcome
    return permanent || attempts >= maxAttempts
      ? { state: 'failed', error }
      : { state: 'retry', error, afterMs: Math.max(backoff(attempts), retryAfterMs) }
  }

  /** Undefined when all that it told of was erased. */
  const digestOf = async (claimed: Claimed): Promise<Claimed | undefined> => {
    const titles = await store.digestTitles(claimed.notificationId)
    return titles.length > 0 ? { ...claimed, ...digestText(titles, claimed.locale) } : undefined
  }

  /** Renews a claim until the answer is called: whoever dies meanwhile is followed soon, however long a server may take. */
  const keep = (claimed: Claimed): (() => void) => {
    const renew = (): Promise<void> =>
      store
        .renew(claimed, leaseMs)
        .catch((err: unknown) => logger.warn({ err, delivery: claimed.id }, 'claim could not be renewed'))
    const renewing = setInterval(renew, leaseMs / RENEWALS).unref()
    return () => clearInterval(renewing)
  }

  /** Calls `letGo` once nobody else can take the delivery: renewing the claim would then wait for this transaction. */
  const record = async (claimed: Claimed, ending: Ending, letGo: () => void): Promise<void> => {
    const { id, notificationId, channel, tenantId, userId } = claimed
    const mine = await store.transaction(async (tx) => {
      // First of all: readers get events in the order in which their transactions began to write.
      await store.lockNotification(tx, notificationId)
      letGo()
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

  return async (claimed) => {
    const { id, channel } = claimed
    const sender = senders.get(channel)
    if (!sender) throw new Error(`delivery ${id} was claimed without a sender for ${channel}`)
    // Nobody is paged for what is over, and an end that went out before its begin stays the end.
    const isStale = claimed.isOver && PAGERS.includes(channel)
    const isDigest = claimed.eventType === DIGEST_EVENT
    const content = isDigest ? await digestOf(claimed) : claimed
    if (isStale || !content) {
      await store.drop(claimed)
      return counter.inc({ channel, outcome: 'suppressed' })
    }
    const letGo = keep(claimed)
    try {
      const outcome = await servers.attempt(claimed.server, () => sender.send(content))
      await record(claimed, endingOf(outcome, claimed.attempts + 1), letGo)
    } finally {
      letGo()
    }
  }
}

const OUTCOMES = { delivered: 'delivered', retry: 'failure', failed: 'dead_letter' } as const

export interface WorkerOptions {
  readonly store: NotificationStore
  readonly senders: Senders
  readonly servers: Servers
  readonly deliver: (claimed: Claimed) => Promise<void>
  readonly ids: () => string
  readonly clock: () => Date
  readonly logger: Logger
  /** A claimed delivery of a worker that died goes to another after this time. */
  readonly leaseMs: number
  /** Deliveries in hand at once, several times what one server may have, so that a few that hang hold up no other; default 32. */
  readonly atOnce?: number
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
  senders,
  servers,
  deliver,
  ids,
  clock,
  logger,
  leaseMs,
  atOnce = 32,
  pollMs = 1_000,
}: WorkerOptions): DeliveryWorker {
  checkRange({ leaseMs, pollMs }, 1, 3_600_000)
  checkRange({ atOnce }, 1, 1_000, { whole: true })
  const closing = new AbortController()
  const bell = createBell()
  const channels = [...senders.keys()]
  const inHand = new Set<Promise<void>>()

  const hold = (claimed: Claimed): void => {
    const work = deliver(claimed)
      .catch((err: unknown) => logger.error({ err, delivery: claimed.id }, 'delivery could not be recorded'))
      .finally(() => {
        inHand.delete(work)
        bell.ring()
      })
    inHand.add(work)
  }

  const step = async (): Promise<boolean> => {
    if (inHand.size >= atOnce) return false
    const claimed = await store.claim({ leaseId: ids(), ms: leaseMs }, { channels, except: servers.closed() })
    if (!claimed) return false
    const afterMs = claimed.severity === 'critical' ? 0 : quietMs(clock(), claimed.quietHours ?? undefined)
    if (afterMs > 0) await store.transaction((tx) => store.end(tx, claimed, { state: 'postponed', afterMs }))
    else hold(claimed)
    return true
  }

  const run = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      const busy = await step().catch((err: unknown) => {
        logger.error({ err }, 'delivery worker cannot go on')
        return false
      })
      if (!busy) await bell.rest(closing.signal, pollMs)
    }
  }

  const running = run()
  return {
    wake: bell.ring,
    close: async () => {
      closing.abort()
      await running
      await Promise.all(inHand)
    },
  }
}
