import type { Severity } from './model.ts'

/** Ways out of docmesh. */
export const OUTSIDE_CHANNELS = ['email', 'slack', 'teams', 'webhook', 'pagerduty', 'opsgenie'] as const
export type OutsideChannel = (typeof OUTSIDE_CHANNELS)[number]

/** Ways to tell somebody. */
export const CHANNELS = ['in_app', ...OUTSIDE_CHANNELS] as const
export type Channel = (typeof CHANNELS)[number]

export interface ChannelPreference {
  readonly channel: Channel
  readonly enabled: boolean
  /** Empty for `in_app`, and for that of the installation. */
  readonly destination: string
  /** Empty for all. */
  readonly eventTypes: readonly string[]
}

export interface QuietHours {
  /** `HH:MM` */
  readonly start: string
  /** `HH:MM`; before `start` when the span passes midnight. */
  readonly end: string
  /** IANA */
  readonly timeZone: string
}

/** How often what can wait is sent together. */
export type DigestFrequency = 'off' | 'hourly' | 'daily'

export interface Preferences {
  /** Empty means that of the event. */
  readonly locale: string
  readonly channels: readonly ChannelPreference[]
  readonly quietHours: QuietHours | undefined
  readonly digest: DigestFrequency
}

/** Destinations that count for a user who names none. */
export type DefaultDestinations = Readonly<Partial<Record<Channel, string>>>

/**
 * The stored preferences with a default for each channel that they do not mention. Email with a default address is on
 * for everybody; a default key of a pager only spares its users to know it.
 */
export function withDefaults(stored: Preferences | undefined, defaults: DefaultDestinations): Preferences {
  const channels = CHANNELS.map((channel): ChannelPreference => {
    const fallback = defaults[channel] ?? ''
    const set = stored?.channels.find((one) => one.channel === channel)
    if (set) return { ...set, destination: set.destination || fallback }
    const enabled = channel === 'in_app' || (channel === 'email' && fallback !== '')
    return { channel, enabled, destination: fallback, eventTypes: [] }
  })
  return {
    locale: stored?.locale ?? '',
    channels,
    quietHours: stored?.quietHours,
    digest: stored?.digest ?? 'off',
  }
}

/** Channels by which the user wants to hear of an event; `onlyIfNamed` leaves out those that take all events unseen. */
export const channelsFor = (
  { channels }: Preferences,
  eventType: string,
  { onlyIfNamed = false } = {},
): readonly ChannelPreference[] =>
  channels.filter(
    ({ enabled, eventTypes }) =>
      enabled && (eventTypes.includes(eventType) || (eventTypes.length === 0 && !onlyIfNamed)),
  )

/** Channels that know incidents: what ends one closes what its begin opened. */
export const PAGERS: readonly OutsideChannel[] = ['pagerduty', 'opsgenie']

/** Channels that people read; the others call programs, which want each event by itself. */
const READ_BY_PEOPLE: readonly Channel[] = ['email', 'slack', 'teams']

/** Whether it waits for the user's next digest. The end of an incident does not: its begin did not either. */
export const canWait = (
  { digest }: Preferences,
  channel: Channel,
  { severity, incident }: { severity: Severity; incident: string },
): boolean => digest !== 'off' && severity === 'info' && incident === '' && READ_BY_PEOPLE.includes(channel)

const DAY_MINUTES = 1_440
const MINUTE_MS = 60_000

const minutesOf = (time: string): number => {
  const [hours = 0, minutes = 0] = time.split(':').map(Number)
  return hours * 60 + minutes
}

/** What the wall shows: `2026-11-10` and `23:30`. */
const wallClock = (at: Date, timeZone: string): { date: string; minutes: number } => {
  const [date = '', time = ''] = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'short',
  })
    .format(at)
    .split(' ')
  return { date, minutes: minutesOf(time) }
}

/**
 * Milliseconds until the quiet hours that hold `now` end; 0 outside of them. Counted on the clock on the wall: on a
 * night when that clock changes the answer is off by the change, and whoever asks again then learns the rest.
 */
export function quietMs(now: Date, quietHours: QuietHours | undefined): number {
  if (!quietHours) return 0
  const { start, end, timeZone } = quietHours
  const { minutes } = wallClock(now, timeZone)
  const sinceStart = (minutes - minutesOf(start) + DAY_MINUTES) % DAY_MINUTES
  const span = (minutesOf(end) - minutesOf(start) + DAY_MINUTES) % DAY_MINUTES
  return sinceStart < span ? (span - sinceStart) * MINUTE_MS - (now.getTime() % MINUTE_MS) : 0
}

const HOUR_MS = 60 * MINUTE_MS
const DAILY_AT_MINUTES = 8 * 60

/**
 * The digest that `now` belongs to, by a key that is the same all through its period, and the milliseconds until it
 * goes out: at the full hour, or at eight in the morning of the zone. On a day when the clock on the wall changes the
 * wait is off by the change; the key is not, so that it remains one digest a day.
 */
export function digestPeriod(
  now: Date,
  frequency: Exclude<DigestFrequency, 'off'>,
  timeZone: string,
): { key: string; dueMs: number } {
  if (frequency === 'hourly') {
    const endMs = (Math.floor(now.getTime() / HOUR_MS) + 1) * HOUR_MS
    return { key: new Date(endMs).toISOString(), dueMs: endMs - now.getTime() }
  }
  const { date, minutes } = wallClock(now, timeZone)
  const days = minutes < DAILY_AT_MINUTES ? 0 : 1
  const dueMinutes = days * DAY_MINUTES + DAILY_AT_MINUTES - minutes
  return {
    key: new Date(Date.parse(date) + days * DAY_MINUTES * MINUTE_MS).toISOString().slice(0, 10),
    dueMs: dueMinutes * MINUTE_MS - (now.getTime() % MINUTE_MS),
  }
}
