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
import { openSenders } from './senders.ts'
import { createServers } from './servers.ts'
import { notificationStore } from './store.ts'
import { subscribeNotifications } from './subscription.ts'
import { linksTo } from './templates/link.ts'

/** How late a message may be because its sender died; renewed while one lives. */
const LEASE_MS = 10_000

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
  const linkOf = linksTo(env.publicUrl ?? '')
  const { smtpUrl, smtpFrom: from, pagerDutyUrl, opsgenieUrl, allowedNetworks = [] } = env
  const email = smtpUrl === undefined ? undefined : openEmail({ url: smtpUrl, from, linkOf })
  const senders = openSenders({ clock, linkOf, allowedNetworks, pagerDutyUrl, opsgenieUrl, email })
  const circuits = metrics.counter('docmesh_notification_circuits_total')
  const servers = createServers(
    {},
    {
      now: () => performance.now(),
      random: Math.random,
      onChange(server, state) {
        circuits.inc({ state })
        logger.warn({ server, circuit: state }, 'circuit of a server changed')
      },
    },
  )
  const store = notificationStore(db)
  const { publish } = events
  const deliver = createDeliverer({ store, publish, senders, servers, metrics, logger, leaseMs: LEASE_MS })
  const defaults = {
    email: env.defaultEmail ?? '',
    pagerduty: env.pagerDutyRoutingKey ?? '',
    opsgenie: env.opsgenieApiKey ?? '',
  }
  const forTelling = { store, publish, senders, deliver, leaseMs: LEASE_MS, defaults, ids, clock, metrics }
  const notifications = createNotifications(forTelling)
  const feed = await openLiveFeed(store)
  registerHealthChecks(health, { db, store, servers, email })

  const work: { close(): Promise<void> }[] = []
  return {
    serve: [implement(NotificationServiceDefinition, notificationHandlers(notifications, feed))],
    started: () => {
      work.push(subscribeNotifications({ events, notifications, operators: env.operators ?? [] }))
      const worker = startDeliveryWorker({
        store,
        senders,
        servers,
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
