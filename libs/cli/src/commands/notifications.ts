import { ListNotificationsResponse, type Notification } from '@docmesh/contracts/notification/v1/notification'
import { Command } from 'commander'
import { type Cli, ending, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { table } from '../render/table.ts'
import { timeText } from '../render/text.ts'

interface ListOptions extends PageOptions {
  readonly unread?: boolean
}

export function notificationsCommand(cli: Cli): Command {
  const { io } = cli
  const notifications = new Command('notifications').description('what docmesh told the user').addHelpText(
    'after',
    `
Examples:
  docmesh notifications list --unread
  docmesh notifications list --user maria --json`,
  )
  withPaging(notifications.command('list').description('list the feed of the user, newest first'))
    .option('--unread', 'only what was not read yet')
    .action(
      ending<ListOptions>(cli, async (options) => {
        const { pageSize = 0, pageToken = '', unread = false, json } = options
        const page = await withMesh(cli, options, (session) =>
          session.notifications.listNotifications({ pageSize, pageToken, unreadOnly: unread }),
        )
        io.stdout.write(
          json ? jsonText(ListNotificationsResponse.toJSON(page)) : feedTable(page.notifications),
        )
        if (!json) io.stderr.write(`${page.unreadCount} unread\n`)
        morePages(io, page)
        return EXIT.ok
      }),
    )
  return notifications
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
