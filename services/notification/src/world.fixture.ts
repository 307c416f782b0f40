import { randomUUIDv7 } from 'node:crypto'
import { AnalysisCompleted, AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { connectEvents, type MessageType, type Publish } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import {
  type Client,
  createClient,
  grpcJsClient,
  grpcJsServer,
  implement,
  routesOf,
  sendOver,
} from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { createDeliverer, startDeliveryWorker } from './delivery-worker.ts'
import { type EmailOptions, openEmail } from './email.ts'
import { notificationHandlers } from './handlers.ts'
import { openLiveFeed } from './live-feed.ts'
import type { Owner } from './model.ts'
import { createNotifications, type News } from './notifications.ts'
import type { DefaultDestinations } from './preferences.ts'
import { openSenders, type SendersOptions } from './senders.ts'
import { createServers, type ServersOptions } from './servers.ts'
import { notificationStore } from './store.ts'
import { subscribeNotifications } from './subscription.ts'
import { linksTo } from './templates/link.ts'

export interface InstanceOptions {
  readonly databaseUrl: string
  /** Without it the instance sends no email. */
  readonly email?: Partial<EmailOptions> & Pick<EmailOptions, 'url'>
  readonly publicUrl?: string
  readonly senders?: Partial<SendersOptions>
  readonly servers?: ServersOptions
  readonly defaults?: DefaultDestinations
  readonly operators?: readonly Owner[]
  readonly maxAttempts?: number
  readonly leaseMs?: number
  /** Of what came of deliveries; default: as events are published. */
  readonly publishDelivery?: Publish
  readonly clock?: () => Date
  /** Default true. */
  readonly works?: boolean
}

export type Instance = Awaited<ReturnType<typeof startInstance>>

const ASKED = {
  analysisId: 'a1',
  documentId: 'd1',
  documentName: 'contrato.pdf',
  requestedBy: 'ana',
  notify: true,
}

/** News as they come out of an event. */
export const newsOf = (eventId: string, more: Partial<News> = {}): News => ({
  eventId,
  eventType: AnalysisCompleted.$type,
  correlationId: 'c1',
  tenantId: 'acme',
  userId: 'ana',
  subjectType: 'analysis',
  subjectId: 'a1',
  documentId: 'd1',
  severity: 'info',
  incident: '',
  incidentVersion: 0n,
  resolves: false,
  facts: {},
  locale: 'en',
  onlyIfNamed: false,
  text: () => ({ title: 'title', body: 'body' }),
  ...more,
})

/** One whole instance of the service, as `main.ts` puts it together, with back-offs of milliseconds. */
export async function startInstance({
  databaseUrl,
  email: emailOptions,
  publicUrl = '',
  senders: senderOptions,
  servers: serverOptions = {},
  defaults = {},
  operators = [],
  maxAttempts,
  leaseMs = 60_000,
  publishDelivery,
  clock = () => new Date(),
  works = true,
}: InstanceOptions) {
  const stack = new AsyncDisposableStack()
  const migrations = new URL('../migrations', import.meta.url)
  const db = stack.use(await openPostgres({ url: databaseUrl, schema: 'notification', migrations }))
  const events = stack.use(await connectEvents({ db, pollMs: 100 }))
  const metrics = createMetrics({ service: 'notification', version: '0', processMetrics: false })
  const linkOf = linksTo(publicUrl)
  const email = emailOptions && openEmail({ from: 'docmesh <noreply@docmesh.test>', linkOf, ...emailOptions })
  const senders = openSenders({
    clock,
    linkOf,
    allowedNetworks: ['127.0.0.0/8'],
    pagerDutyUrl: 'https://events.pagerduty.test',
    opsgenieUrl: 'https://api.opsgenie.test',
    email,
    ...senderOptions,
  })
  const servers = createServers(serverOptions, { now: () => performance.now(), random: Math.random })
  const store = notificationStore(db)
  const deliver = createDeliverer({
    store,
    publish: publishDelivery ?? events.publish,
    senders,
    servers,
    metrics,
    logger: silentLogger,
    leaseMs,
    backoff: () => 10,
    ...(maxAttempts !== undefined && { maxAttempts }),
  })
  const notifications = createNotifications({
    store,
    publish: events.publish,
    senders,
    deliver,
    leaseMs,
    defaults,
    ids: randomUUIDv7,
    clock,
    metrics,
  })
  const feed = await openLiveFeed(store)
  const routes = routesOf(
    implement(NotificationServiceDefinition, notificationHandlers(notifications, feed)),
    [],
  )
  const server = await grpcJsServer.listen('127.0.0.1:0', routes)
  stack.defer(() => server.close(1_000))
  stack.defer(() => feed.close())
  const connection = grpcJsClient.connect(server.address)
  stack.defer(() => connection.close())
  if (works) {
    const worker = startDeliveryWorker({
      store,
      senders,
      servers,
      deliver,
      ids: randomUUIDv7,
      clock,
      logger: silentLogger,
      leaseMs,
      pollMs: 20,
    })
    feed.onNews(worker.wake)
    stack.defer(() => worker.close())
    const subscription = subscribeNotifications({ events, notifications, operators })
    stack.defer(() => subscription.close())
  }

  const publish = <T>(type: MessageType<T>, payload: T, aggregateId: string, userId = '') =>
    db.transaction((tx) =>
      events.publish(tx, type, payload, { aggregateType: 'test', aggregateId, tenantId: 'acme', userId }),
    )

  return {
    db,
    events,
    store,
    senders,
    notifications,
    feed,
    /** Calls as one user. */
    as: (userId: string, tenantId = 'acme'): Client<typeof NotificationServiceDefinition> =>
      createClient(NotificationServiceDefinition, sendOver(connection), [
        (next) => (call) =>
          next({
            ...call,
            metadata: { ...call.metadata, 'docmesh-user-id': userId, 'docmesh-tenant-id': tenantId },
          }),
      ]),
    completed: (payload: Partial<AnalysisCompleted> = {}) =>
      publish(
        AnalysisCompleted,
        AnalysisCompleted.fromPartial({ ...ASKED, ...payload }),
        payload.analysisId ?? 'a1',
      ),
    failed: (payload: Partial<AnalysisFailed> = {}) =>
      publish(
        AnalysisFailed,
        AnalysisFailed.fromPartial({ ...ASKED, ...payload }),
        payload.analysisId ?? 'a1',
      ),
    publish,
    /** Types of the events of this service so far. */
    told: async (): Promise<string[]> => {
      const rows = await db.query<{ type: string }>(
        `select type from events.log where aggregate_type = 'notification' order by position`,
      )
      return rows.map(({ type }) => type.slice('docmesh.notification.v1.'.length))
    },
    outcomes: async (): Promise<string[]> => {
      const { body } = await metrics.render()
      return body.split('\n').filter((line) => line.startsWith('docmesh_notification_deliveries_total'))
    },
    close: () => stack.disposeAsync(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
