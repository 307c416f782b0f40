import { randomUUID } from 'node:crypto'
import {
  type ChannelPreference,
  GetPreferencesResponse,
  type Preferences,
} from '@docmesh/contracts/notification/v1/notification'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { jsonText } from '../paging.ts'
import { collect } from '../parse.ts'
import {
  channelName,
  channelOn,
  channelsOff,
  digest,
  digestName,
  type PreferenceChanges,
  quietHours,
  withChanges,
} from '../preference-options.ts'
import { table } from '../render/table.ts'

interface Options extends GlobalOptions, PreferenceChanges {
  readonly json?: boolean
}

/** Shows what the user prefers, after the changes that the options ask for. */
export function preferencesCommand(cli: Cli): Command {
  return new Command('preferences')
    .description('show or change where and when docmesh tells the user')
    .option('--on <channel[=destination]>', 'switch a channel on; may be given more than once', channelOn)
    .option('--off <channel>', 'switch a channel off; may be given more than once', channelsOff)
    .option(
      '--event <type>',
      'only these events on the channels of --on; may be given more than once',
      collect,
    )
    .option(
      '--quiet <from-to@zone>',
      'no messages outside of docmesh at this time of day; off for none',
      quietHours,
    )
    .option('--digest <off|hourly|daily>', 'send what is not urgent together', digest)
    .option('--locale <tag>', 'language of messages, pt-BR or en')
    .option('--json', 'proto3 JSON')
    .addHelpText(
      'after',
      `
Examples:
  docmesh notifications preferences
  docmesh notifications preferences --on email=maria@example.org --digest daily
  docmesh notifications preferences --on slack=https://hooks.slack.com/services/… --event docmesh.analysis.v1.AnalysisFailed
  docmesh notifications preferences --quiet 22:00-07:00@America/Sao_Paulo --off teams`,
    )
    .action(
      ending<Options>(cli, async (options) => {
        const preferences = await withMesh(cli, options, async ({ notifications }) => {
          const { preferences } = await notifications.getPreferences({})
          if (!preferences || !asksForChange(options)) return preferences
          const put = { preferences: withChanges(preferences, options), requestId: randomUUID() }
          return (await notifications.putPreferences(put)).preferences
        })
        cli.io.stdout.write(
          options.json || !preferences
            ? jsonText(GetPreferencesResponse.toJSON({ preferences }))
            : preferencesText(preferences),
        )
        return EXIT.ok
      }),
    )
}

const asksForChange = ({ on, off, quiet, digest, locale }: PreferenceChanges): boolean =>
  [on, off, quiet, digest, locale].some((change) => change !== undefined)

function preferencesText({ locale, channels, quietHours, digest }: Preferences): string {
  const rows = channels.map(({ channel, enabled, destination, eventTypes }: ChannelPreference) => [
    channelName(channel),
    enabled ? 'on' : 'off',
    destination || '-',
    eventTypes.length === 0 ? 'all' : eventTypes.join(', '),
  ])
  const quiet = quietHours ? `${quietHours.start} to ${quietHours.end} (${quietHours.timeZone})` : 'none'
  return `${table(['CHANNEL', '', 'DESTINATION', 'EVENTS'], rows)}
language: ${locale || 'as the event'}
quiet hours: ${quiet}
digest: ${digestName(digest)}
`
}
