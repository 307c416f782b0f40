// Notification messages ↔ domain, and the checks that make a message safe to believe.
import {
  Channel as ChannelMessage,
  type ChannelPreference as ChannelPreferenceMessage,
  channelToJSON,
  DeliveryState as DeliveryStateMessage,
  DigestFrequency as DigestFrequencyMessage,
  type Preferences as PreferencesMessage,
  type QuietHours as QuietHoursMessage,
} from '@docmesh/contracts/notification/v1/notification'
import { type FieldViolation, invalidRequest } from '@docmesh/rpc'
import { EVENT_TYPES } from './announcements.ts'
import { destinationFault, maskDestination } from './destinations.ts'
import type { Delivery, DeliveryState, Notification } from './model.ts'
import {
  CHANNELS,
  type Channel,
  type ChannelPreference,
  type DefaultDestinations,
  type DigestFrequency,
  type Preferences,
} from './preferences.ts'

const WIRE_CHANNELS = {
  in_app: ChannelMessage.IN_APP,
  email: ChannelMessage.EMAIL,
  slack: ChannelMessage.SLACK,
  teams: ChannelMessage.TEAMS,
  webhook: ChannelMessage.WEBHOOK,
  pagerduty: ChannelMessage.PAGERDUTY,
  opsgenie: ChannelMessage.OPSGENIE,
} as const

const WIRE_DIGESTS = {
  off: DigestFrequencyMessage.OFF,
  hourly: DigestFrequencyMessage.HOURLY,
  daily: DigestFrequencyMessage.DAILY,
} as const

const WIRE_STATES = {
  pending: DeliveryStateMessage.PENDING,
  delivered: DeliveryStateMessage.DELIVERED,
  failed: DeliveryStateMessage.FAILED,
} as const

export const wireChannel = (channel: Channel): ChannelMessage => WIRE_CHANNELS[channel]

export const channelOf = (wire: ChannelMessage): Channel | undefined =>
  CHANNELS.find((channel) => WIRE_CHANNELS[channel] === wire)

/** What to write where a channel is not one of `channels`. */
export const oneOfChannels = (channels: readonly Channel[]): string =>
  `write ${channels.map((channel) => channelToJSON(WIRE_CHANNELS[channel])).join(' or ')}; no other is available`

/** @throws INVALID_REQUEST for a state that no delivery can have. */
export const statesOf = (states: readonly DeliveryStateMessage[]): DeliveryState[] =>
  states.map((wire, index) => {
    for (const [state, known] of Object.entries(WIRE_STATES))
      if (known === wire) return state as DeliveryState
    throw invalidRequest([{ field: `states[${index}]`, description: 'write PENDING, DELIVERED or FAILED' }])
  })

export const notificationMessage = ({ readAt, ...notification }: Notification) => ({
  ...notification,
  readAt: readAt ?? undefined,
})

export const deliveryMessage = ({
  channel,
  destination,
  state,
  nextAttemptAt,
  deliveredAt,
  ...delivery
}: Delivery) => ({
  ...delivery,
  channel: wireChannel(channel),
  destination: maskDestination(channel, destination),
  state: WIRE_STATES[state],
  nextAttemptAt: nextAttemptAt ?? undefined,
  deliveredAt: deliveredAt ?? undefined,
})

export const preferencesMessage = ({ locale, channels, quietHours, digest }: Preferences) => ({
  locale,
  channels: channels.map(({ channel, enabled, destination, eventTypes }) => ({
    channel: wireChannel(channel),
    enabled,
    destination: maskDestination(channel, destination),
    eventTypes: [...eventTypes],
  })),
  quietHours,
  digest: WIRE_DIGESTS[digest],
})

type Check = (ok: boolean, field: string, description: string) => void

/** What a user has now; a masked destination that comes back stands for the one behind the mask. */
export interface Present {
  readonly stored: Preferences | undefined
  readonly defaults: DefaultDestinations
}

/** @throws INVALID_REQUEST that names every wrong field. */
export function preferencesFrom(message: PreferencesMessage | undefined, present: Present): Preferences {
  const faults: FieldViolation[] = []
  const check: Check = (ok, field, description) => {
    if (!ok) faults.push({ field: `preferences.${field}`, description })
  }
  if (!message) throw invalidRequest([{ field: 'preferences', description: 'write the preferences' }])
  const { locale, quietHours } = message
  // A fault for each of thousands would not fit into an answer.
  if (message.channels.length > CHANNELS.length)
    throw invalidRequest([{ field: 'preferences.channels', description: 'name each once' }])
  check(locale === '' || /^(pt|en)(-[A-Za-z0-9]{1,8})*$/.test(locale), 'locale', 'write pt-BR, en or nothing')
  const digest = digestOf(message.digest)
  check(digest !== undefined, 'digest', 'write OFF, HOURLY or DAILY')
  if (quietHours) checkQuietHours(quietHours, check)
  const channels = message.channels.map((channel, index) =>
    channelFrom(channel, present, (ok, field, description) =>
      check(ok, `channels[${index}].${field}`, description),
    ),
  )
  check(
    new Set(channels.map(({ channel }) => channel)).size === channels.length,
    'channels',
    'name each once',
  )
  if (faults.length > 0) throw invalidRequest(faults)
  return { locale, channels, quietHours, digest: digest ?? 'off' }
}

const digestOf = (wire: DigestFrequencyMessage): DigestFrequency | undefined => {
  if (wire === DigestFrequencyMessage.UNSPECIFIED) return 'off'
  const found = Object.entries(WIRE_DIGESTS).find(([, known]) => known === wire)
  return found?.[0] as DigestFrequency | undefined
}

function channelFrom(message: ChannelPreferenceMessage, present: Present, check: Check): ChannelPreference {
  const { enabled, eventTypes } = message
  const channel = channelOf(message.channel)
  check(channel !== undefined, 'channel', oneOfChannels(CHANNELS))
  check(
    eventTypes.every((type) => EVENT_TYPES.includes(type)),
    'event_types',
    `write ${EVENT_TYPES.join(', ')} or nothing for all`,
  )
  if (channel === undefined) return { channel: 'in_app', enabled, destination: '', eventTypes: [] }
  const destination = unmask(channel, message.destination, present)
  const effective = destination || (present.defaults[channel] ?? '')
  const isNeeded = enabled || destination !== ''
  const fault = isNeeded ? destinationFault(channel, effective) : ''
  check(fault === '', 'destination', fault)
  return { channel, enabled, destination, eventTypes: [...new Set(eventTypes)] }
}

function unmask(channel: Channel, destination: string, { stored, defaults }: Present): string {
  const before = stored?.channels.find((one) => one.channel === channel)?.destination ?? ''
  const shown = maskDestination(channel, before || (defaults[channel] ?? ''))
  return destination === shown ? before : destination
}

const TIME = /^([01]\d|2[0-3]):[0-5]\d$/

function checkQuietHours({ start, end, timeZone }: QuietHoursMessage, check: Check): void {
  check(TIME.test(start), 'quiet_hours.start', 'write a time of day, for example 22:00')
  check(TIME.test(end), 'quiet_hours.end', 'write a time of day, for example 07:00')
  check(start !== end, 'quiet_hours', 'start and end are the same: switch the channels off instead')
  check(isTimeZone(timeZone), 'quiet_hours.time_zone', 'write an IANA zone, for example America/Sao_Paulo')
}

/** By the zones that this runtime knows; it also takes offsets such as `+03:00`, which are no zones. */
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
