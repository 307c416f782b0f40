// Notification messages ↔ domain, and the checks that make a message safe to believe.
import {
  Channel as ChannelMessage,
  type ChannelPreference as ChannelPreferenceMessage,
  channelToJSON,
  DeliveryState as DeliveryStateMessage,
  DigestFrequency,
  type Preferences as PreferencesMessage,
  type QuietHours as QuietHoursMessage,
} from '@docmesh/contracts/notification/v1/notification'
import { type FieldViolation, invalidRequest } from '@docmesh/rpc'
import { z } from 'zod'
import type { Delivery, DeliveryState, Notification } from './model.ts'
import { CHANNELS, type Channel, type ChannelPreference, type Preferences } from './preferences.ts'
import { EVENT_TYPES } from './templates.ts'

const WIRE_CHANNELS = { in_app: ChannelMessage.IN_APP, email: ChannelMessage.EMAIL } as const

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

export const deliveryMessage = ({ channel, state, nextAttemptAt, deliveredAt, ...delivery }: Delivery) => ({
  ...delivery,
  channel: wireChannel(channel),
  state: WIRE_STATES[state],
  nextAttemptAt: nextAttemptAt ?? undefined,
  deliveredAt: deliveredAt ?? undefined,
})

export const preferencesMessage = ({ locale, channels, quietHours }: Preferences) => ({
  locale,
  channels: channels.map(({ channel, eventTypes, ...preference }) => ({
    ...preference,
    channel: wireChannel(channel),
    eventTypes: [...eventTypes],
  })),
  quietHours,
  digest: DigestFrequency.OFF,
})

type Check = (ok: boolean, field: string, description: string) => void

/** @throws INVALID_REQUEST that names every wrong field. */
export function preferencesFrom(message: PreferencesMessage | undefined): Preferences {
  const faults: FieldViolation[] = []
  const check: Check = (ok, field, description) => {
    if (!ok) faults.push({ field: `preferences.${field}`, description })
  }
  if (!message) throw invalidRequest([{ field: 'preferences', description: 'write the preferences' }])
  const { locale, quietHours, digest } = message
  check(locale === '' || /^(pt|en)(-[A-Za-z0-9]{1,8})*$/.test(locale), 'locale', 'write pt-BR, en or nothing')
  check(
    digest === DigestFrequency.UNSPECIFIED || digest === DigestFrequency.OFF,
    'digest',
    'write DIGEST_FREQUENCY_OFF; no other is available',
  )
  if (quietHours) checkQuietHours(quietHours, check)
  const channels = message.channels.map((channel, index) =>
    channelFrom(channel, (ok, field, description) => check(ok, `channels[${index}].${field}`, description)),
  )
  check(
    new Set(channels.map(({ channel }) => channel)).size === channels.length,
    'channels',
    'name each once',
  )
  if (faults.length > 0) throw invalidRequest(faults)
  return { locale, channels, quietHours }
}

function channelFrom(message: ChannelPreferenceMessage, check: Check): ChannelPreference {
  const { enabled, destination, eventTypes } = message
  const channel = channelOf(message.channel)
  check(channel !== undefined, 'channel', oneOfChannels(CHANNELS))
  if (channel === 'in_app') check(destination === '', 'destination', 'leave it empty: the feed needs none')
  if (channel === 'email') {
    const isSet = enabled || destination !== ''
    check(!isSet || isEmail(destination), 'destination', 'write one address, for example ana@example.com')
  }
  check(
    eventTypes.every((type) => EVENT_TYPES.includes(type)),
    'event_types',
    `write ${EVENT_TYPES.join(', ')} or nothing for all`,
  )
  return { channel: channel ?? 'in_app', enabled, destination, eventTypes }
}

const isEmail = (text: string): boolean => text.length <= 254 && z.email().safeParse(text).success

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
