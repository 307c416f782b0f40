import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { connectEvents } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import { implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { createDeliverer, startDeliveryWorker } from './delivery-worker.ts'
import { openEmail } from './email.ts'
import { env } from './env.ts'
import { notificationHandlers } from './handlers.ts'
import { registerHealthChecks } from './health-checks.ts'
import { openLiveFeed } from './live-feed.ts'
import { createNotifications } from './notifications.ts'
import { notificationStore } from './store.ts'
import { subscribeNotifications } from './subscription.ts'

// Twice the time of one send: a delivery is never in two hands while both are alive.
const LEASE_MS = 60_000

await runService('notification', env, async ({ env, own, clock, ids, logger, metrics, health }) => {
  const onError = (err: Error) => logger.warn({ err }, 'connection or handler failed')
  const db = own(
    await openPostgres({
      url: env.databaseUrl,
      schema: 'notification',
      migrations: new URL('../migrations', import.meta.url),
      metrics,
      onError,
      poolMax: env.databasePoolMax,
    }),
  )
  const events = own(
    await connectEvents({ db, natsUrl: env.natsUrl, stream: env.natsStream, metrics, onError }),
  )
  const { smtpUrl, smtpFrom: from, publicUrl = '', defaultEmail = '' } = env
  const email = smtpUrl === undefined ? undefined : openEmail({ url: smtpUrl, from, publicUrl })
  const outside = email ? (['email'] as const) : []
  const store = notificationStore(db)
  const { publish } = events
  const senders = email ? { email: email.send } : {}
  const deliver = createDeliverer({ store, publish, senders, metrics, logger })
  const notifications = createNotifications({
    store,
    publish,
    outside,
    deliver,
    leaseMs: LEASE_MS,
    defaultEmail,
    ids,
    metrics,
  })
  const feed = await openLiveFeed(store)
  registerHealthChecks(health, { db, store, email })

  const work: { close(): Promise<void> }[] = []
  return {
    serve: [implement(NotificationServiceDefinition, notificationHandlers(notifications, feed))],
    started: () => {
      work.push(subscribeNotifications(events, notifications))
      if (!email) return
      const worker = startDeliveryWorker({
        store,
        channels: outside,
        deliver,
        ids,
        clock,
        logger,
        leaseMs: LEASE_MS,
      })
      feed.onNews(worker.wake)
      work.push(worker)
    },
    stopping: () => Promise.all([...work, feed].map((part) => part.close())),
  }
})
