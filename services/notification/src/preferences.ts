/** Ways to tell somebody that this version has. */
export const CHANNELS = ['in_app', 'email'] as const
export type Channel = (typeof CHANNELS)[number]

export interface ChannelPreference {
  readonly channel: Channel
  readonly enabled: boolean
  /** Empty for `in_app`. */
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

export interface Preferences {
  /** Empty means that of the event. */
  readonly locale: string
  readonly channels: readonly ChannelPreference[]
  readonly quietHours: QuietHours | undefined
}

/** The stored preferences with a default for each channel that they do not mention. */
export function withDefaults(stored: Preferences | undefined, defaultEmail: string): Preferences {
  const defaults: Record<Channel, ChannelPreference> = {
    in_app: { channel: 'in_app', enabled: true, destination: '', eventTypes: [] },
    email: { channel: 'email', enabled: defaultEmail !== '', destination: defaultEmail, eventTypes: [] },
  }
  return {
    locale: stored?.locale ?? '',
    channels: CHANNELS.map(
      (name) => stored?.channels.find(({ channel }) => channel === name) ?? defaults[name],
    ),
    quietHours: stored?.quietHours,
  }
}

/** Channels by which the user wants to hear of an event. */
export const channelsFor = ({ channels }: Preferences, eventType: string): readonly ChannelPreference[] =>
  channels.filter(
    ({ enabled, eventTypes }) => enabled && (eventTypes.length === 0 || eventTypes.includes(eventType)),
  )

const DAY_MINUTES = 1_440
const MINUTE_MS = 60_000

const minutesOf = (time: string): number => {
  const [hours = 0, minutes = 0] = time.split(':').map(Number)
  return hours * 60 + minutes
}

const localTime = (at: Date, timeZone: string): string =>
  new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(at)

/**
 * Milliseconds until the quiet hours that hold `now` end; 0 outside of them. Counted on the clock on the wall: on a
 * night when that clock changes the answer is off by the change, and whoever asks again then learns the rest.
 */
export function quietMs(now: Date, quietHours: QuietHours | undefined): number {
  if (!quietHours) return 0
  const { start, end, timeZone } = quietHours
  const sinceStart = (minutesOf(localTime(now, timeZone)) - minutesOf(start) + DAY_MINUTES) % DAY_MINUTES
  const span = (minutesOf(end) - minutesOf(start) + DAY_MINUTES) % DAY_MINUTES
  return sinceStart < span ? (span - sinceStart) * MINUTE_MS - (now.getTime() % MINUTE_MS) : 0
}
