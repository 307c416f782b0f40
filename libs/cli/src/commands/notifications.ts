import { randomUUID } from 'node:crypto'
import {
  type Delivery,
  DeliveryState,
  ListDeliveriesResponse,
  ListNotificationsResponse,
  type Notification,
  WatchNotificationsResponse,
} from '@docmesh/contracts/notification/v1/notification'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT, type ExitCode } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { channel, channelName } from '../preference-options.ts'
import { table } from '../render/table.ts'
import { timeText } from '../render/text.ts'
import { preferencesCommand } from './notification-preferences.ts'

interface ListOptions extends PageOptions {
  readonly unread?: boolean
}

interface DeliveriesOptions extends PageOptions {
  readonly notification?: string
  readonly failed?: boolean
}

export function notificationsCommand(cli: Cli): Command {
  const { io } = cli
  const asking = <O extends GlobalOptions>(
    work: (client: MeshSession['notifications'], options: O, ids: string[]) => Promise<void>,
  ) =>
    ending<O>(cli, async (options, ...ids): Promise<ExitCode> => {
      await withMesh(cli, options, ({ notifications }) => work(notifications, options, ids))
      return EXIT.ok
    })
  const notifications = new Command('notifications').description('what docmesh told the user').addHelpText(
    'after',
    `
Examples:
  docmesh notifications list --unread
  docmesh notifications watch
  docmesh notifications preferences --on email=maria@example.org --digest daily
  docmesh notifications test slack
  docmesh notifications deliveries --failed`,
  )

  withPaging(notifications.command('list').description('list the feed of the user, newest first'))
    .option('--unread', 'only what was not read yet')
    .action(
      asking<ListOptions>(async (client, { pageSize = 0, pageToken = '', unread = false, json }) => {
        const page = await client.listNotifications({ pageSize, pageToken, unreadOnly: unread })
        io.stdout.write(
          json ? jsonText(ListNotificationsResponse.toJSON(page)) : feedTable(page.notifications),
        )
        if (!json) io.stderr.write(`${page.unreadCount} unread\n`)
        morePages(io, page)
      }),
    )

  notifications
    .command('watch')
    .description('every new notification of the user, a line each, until Ctrl-C')
    .option('--json', 'proto3 JSON, a line for each')
    .action(
      asking<PageOptions>(async (client, { json }) => {
        for await (const news of client.watchNotifications({})) {
          const { notification } = news
          if (json) io.stdout.write(`${JSON.stringify(WatchNotificationsResponse.toJSON(news))}\n`)
          else if (notification) io.stdout.write(feedLine(notification))
        }
      }),
    )

  notifications
    .command('read')
    .description('mark notifications as read')
    .argument('[ids...]', 'which; all when none is named')
    .action(
      asking(async (client, _, notificationIds) => {
        const { unreadCount } = await client.markNotificationsRead({
          notificationIds,
          requestId: randomUUID(),
        })
        io.stderr.write(`${unreadCount} unread\n`)
      }),
    )

  withPaging(
    notifications.command('deliveries').description('what was sent outside of docmesh, newest first'),
  )
    .option('--notification <id>', 'only those of this notification')
    .option('--failed', 'only those that were given up')
    .action(
      asking<DeliveriesOptions>(async (client, options) => {
        const { pageSize = 0, pageToken = '', notification = '', failed, json } = options
        const states = failed ? [DeliveryState.FAILED] : []
        const page = await client.listDeliveries({
          pageSize,
          pageToken,
          notificationId: notification,
          states,
        })
        io.stdout.write(json ? jsonText(ListDeliveriesResponse.toJSON(page)) : deliveryTable(page.deliveries))
        morePages(io, page)
      }),
    )

  notifications
    .command('retry')
    .description('send a delivery again that was given up')
    .argument('<delivery>', 'id, as `docmesh notifications deliveries` shows it')
    .action(
      asking(async (client, _, [deliveryId = '']) => {
        const { delivery } = await client.retryDelivery({ deliveryId, requestId: randomUUID() })
        if (delivery) io.stdout.write(deliveryTable([delivery]))
      }),
    )

  notifications
    .command('test')
    .description('send a test message over a channel and show how it went')
    .argument('<channel>', 'email, slack, teams, webhook, pagerduty or opsgenie', channel)
    .action(
      asking(async (client, _, [name = '']) => {
        const { delivery } = await client.sendTestNotification({
          channel: channel(name),
          requestId: randomUUID(),
        })
        if (delivery) io.stdout.write(deliveryTable([delivery]))
      }),
    )
  return notifications.addCommand(preferencesCommand(cli))
}

function feedTable(feed: readonly Notification[]): string {
  const rows = feed.map(({ createdAt, readAt, title, body }) => [
    timeText(createdAt),
    readAt ? '' : 'new',
    title,
    body,
  ])
  return table(['TIME (UTC)', '', 'TITLE', 'TEXT'], rows)
}

const feedLine = ({ createdAt, title, body }: Notification): string =>
  table([timeText(createdAt), title, body], [])

const STATES: Readonly<Partial<Record<DeliveryState, string>>> = {
  [DeliveryState.PENDING]: 'pending',
  [DeliveryState.DELIVERED]: 'delivered',
  [DeliveryState.FAILED]: 'failed',
}

function deliveryTable(deliveries: readonly Delivery[]): string {
  const rows = deliveries.map(({ id, createdAt, channel, destination, state, attempts, lastError }) => [
    id,
    timeText(createdAt),
    channelName(channel),
    destination,
    STATES[state] ?? '-',
    String(attempts),
    lastError || '-',
  ])
  return table(['ID', 'TIME (UTC)', 'CHANNEL', 'TO', 'STATE', 'TRIES', 'LAST ERROR'], rows)
}
