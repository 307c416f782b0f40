import { randomUUIDv7 } from 'node:crypto'
import { AnalysisCompleted, AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { connectEvents } from '@docmesh/events'
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
import { createNotifications } from './notifications.ts'
import { notificationStore } from './store.ts'
import { subscribeNotifications } from './subscription.ts'

export interface InstanceOptions {
  readonly databaseUrl: string
  /** Without it the instance sends no email. */
  readonly email?: Partial<EmailOptions> & Pick<EmailOptions, 'url'>
  readonly maxAttempts?: number
  readonly leaseMs?: number
  readonly clock?: () => Date
  /** Default true. */
  readonly works?: boolean
}

export type Instance = Awaited<ReturnType<typeof startInstance>>

/** One whole instance of the service, as `main.ts` puts it together, with back-offs of milliseconds. */
export async function startInstance({
  databaseUrl,
  email: emailOptions,
  maxAttempts,
  leaseMs = 60_000,
  clock = () => new Date(),
  works = true,
}: InstanceOptions) {
  const stack = new AsyncDisposableStack()
  const migrations = new URL('../migrations', import.meta.url)
  const db = stack.use(await openPostgres({ url: databaseUrl, schema: 'notification', migrations }))
  const events = stack.use(await connectEvents({ db, pollMs: 100 }))
  const metrics = createMetrics({ service: 'notification', version: '0', processMetrics: false })
  const email = emailOptions && openEmail({ from: 'docmesh <noreply@docmesh.test>', ...emailOptions })
  const store = notificationStore(db)
  const outside = email ? (['email'] as const) : []
  const deliver = createDeliverer({
    store,
    publish: events.publish,
    senders: email ? { email: email.send } : {},
    metrics,
    logger: silentLogger,
    backoff: () => 10,
    ...(maxAttempts !== undefined && { maxAttempts }),
  })
  const notifications = createNotifications({
    store,
    publish: events.publish,
    outside,
    deliver,
    leaseMs,
    defaultEmail: '',
    ids: randomUUIDv7,
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
      channels: outside,
      deliver,
      ids: randomUUIDv7,
      clock,
      logger: silentLogger,
      leaseMs,
      pollMs: 20,
    })
    feed.onNews(worker.wake)
    stack.defer(() => worker.close())
    const subscription = subscribeNotifications(events, notifications)
    stack.defer(() => subscription.close())
  }

  return {
    db,
    events,
    store,
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
      db.transaction((tx) =>
        events.publish(
          tx,
          AnalysisCompleted,
          AnalysisCompleted.fromPartial({
            analysisId: 'a1',
            documentId: 'd1',
            documentName: 'contrato.pdf',
            requestedBy: 'ana',
            notify: true,
            ...payload,
          }),
          { aggregateType: 'analysis', aggregateId: payload.analysisId ?? 'a1', tenantId: 'acme' },
        ),
      ),
    failed: (payload: Partial<AnalysisFailed> = {}) =>
      db.transaction((tx) =>
        events.publish(
          tx,
          AnalysisFailed,
          AnalysisFailed.fromPartial({
            analysisId: 'a1',
            documentId: 'd1',
            documentName: 'contrato.pdf',
            requestedBy: 'ana',
            notify: true,
            ...payload,
          }),
          { aggregateType: 'analysis', aggregateId: payload.analysisId ?? 'a1', tenantId: 'acme' },
        ),
      ),
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
