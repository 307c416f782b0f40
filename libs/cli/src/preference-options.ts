import {
  Channel,
  type ChannelPreference,
  DigestFrequency,
  type Preferences,
  type QuietHours,
} from '@docmesh/contracts/notification/v1/notification'
import { InvalidArgumentError } from 'commander'

const CHANNELS: Readonly<Record<string, Channel>> = {
  'in-app': Channel.IN_APP,
  email: Channel.EMAIL,
  slack: Channel.SLACK,
  teams: Channel.TEAMS,
  webhook: Channel.WEBHOOK,
  pagerduty: Channel.PAGERDUTY,
  opsgenie: Channel.OPSGENIE,
}

const DIGESTS: Readonly<Record<string, DigestFrequency>> = {
  off: DigestFrequency.OFF,
  hourly: DigestFrequency.HOURLY,
  daily: DigestFrequency.DAILY,
}

const nameIn = <T>(names: Readonly<Record<string, T>>, value: T): string =>
  Object.keys(names).find((name) => names[name] === value) ?? '-'

function valueIn<T>(names: Readonly<Record<string, T>>, text: string): T {
  const name = text.toLowerCase()
  const value = Object.hasOwn(names, name) ? names[name] : undefined
  if (value === undefined) throw new InvalidArgumentError(`write one of ${Object.keys(names).join(', ')}`)
  return value
}

export const channelName = (channel: Channel): string => nameIn(CHANNELS, channel)
export const digestName = (digest: DigestFrequency): string => nameIn(DIGESTS, digest)
export const channel = (text: string): Channel => valueIn(CHANNELS, text)
export const digest = (text: string): DigestFrequency => valueIn(DIGESTS, text)

/** `slack=https://…`, or `email` for the destination that it has. */
export function channelOn(
  text: string,
  earlier: readonly ChannelPreference[] = [],
): readonly ChannelPreference[] {
  const [, name = '', destination = ''] = /^([a-zA-Z-]+)(?:=(.+))?$/.exec(text) ?? []
  return [...earlier, { channel: channel(name), enabled: true, destination, eventTypes: [] }]
}

export const channelsOff = (text: string, earlier: readonly Channel[] = []): readonly Channel[] => [
  ...earlier,
  channel(text),
]

/** `22:00-07:00@America/Sao_Paulo`, the zone of this machine when none is given; `off` for none. */
export function quietHours(text: string): QuietHours | 'off' {
  if (text === 'off') return 'off'
  const [, start, end, zone] = /^(\d{2}:\d{2})-(\d{2}:\d{2})(?:@(\S+))?$/.exec(text) ?? []
  if (!start || !end)
    throw new InvalidArgumentError('write for example 22:00-07:00@America/Sao_Paulo, or off')
  return { start, end, timeZone: zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone }
}

export interface PreferenceChanges {
  readonly locale?: string
  readonly on?: readonly ChannelPreference[]
  readonly off?: readonly Channel[]
  readonly event?: readonly string[]
  readonly quiet?: QuietHours | 'off'
  readonly digest?: DigestFrequency
}

/** What is not named stays as it is; `event` narrows the channels that are switched on with it. */
export function withChanges(present: Preferences, changes: PreferenceChanges): Preferences {
  const { locale, on = [], off = [], event, quiet, digest } = changes
  const channels = new Map(present.channels.map((each) => [each.channel, each]))
  for (const { channel, destination } of on) {
    const before = channels.get(channel)
    channels.set(channel, {
      channel,
      enabled: true,
      destination: destination || (before?.destination ?? ''),
      eventTypes: [...(event ?? before?.eventTypes ?? [])],
    })
  }
  for (const channel of off) {
    const before = channels.get(channel) ?? { channel, destination: '', eventTypes: [] }
    channels.set(channel, { ...before, enabled: false })
  }
  return {
    locale: locale ?? present.locale,
    channels: [...channels.values()],
    quietHours: quiet === undefined ? present.quietHours : quiet === 'off' ? undefined : quiet,
    digest: digest ?? present.digest,
  }
}
