import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canWait, channelsFor, digestPeriod, quietMs, withDefaults } from './preferences.ts'

const NIGHT = { start: '22:00', end: '07:00', timeZone: 'America/Sao_Paulo' }
const HOUR_MS = 3_600_000

describe('preferences', () => {
  it('turn the feed on for a user who set nothing, and email only where there is an address', () => {
    const on = (defaultEmail: string) =>
      channelsFor(withDefaults(undefined, { email: defaultEmail, pagerduty: 'key' }), 'any').map(
        ({ channel, destination }) => [channel, destination],
      )
    expect(on('')).toEqual([['in_app', '']])
    expect(on('team@example.com')).toEqual([
      ['in_app', ''],
      ['email', 'team@example.com'],
    ])
  })

  it('keep what the user set and fill in the channels that were not mentioned', () => {
    const email = {
      channel: 'email',
      enabled: true,
      destination: 'ana@example.com',
      eventTypes: ['x.Failed'],
    } as const
    const stored = { locale: 'pt-BR', channels: [email], quietHours: NIGHT, digest: 'daily' } as const
    const preferences = withDefaults(stored, { email: 'team@example.com' })
    expect(preferences).toMatchObject({ locale: 'pt-BR', quietHours: NIGHT, digest: 'daily' })
    expect(channelsFor(preferences, 'x.Failed').map(({ channel }) => channel)).toEqual(['in_app', 'email'])
    expect(channelsFor(preferences, 'x.Completed').map(({ channel }) => channel)).toEqual(['in_app'])
  })
})

describe('what can wait', () => {
  const info = { severity: 'info', incident: '' } as const
  const hourly = withDefaults({ locale: '', channels: [], quietHours: undefined, digest: 'hourly' }, {})

  it('is what hardly matters, on the channels that people read', () => {
    const waits = (['in_app', 'email', 'slack', 'teams', 'webhook', 'pagerduty', 'opsgenie'] as const).filter(
      (channel) => canWait(hourly, channel, info),
    )
    expect(waits).toEqual(['email', 'slack', 'teams'])
    for (const severity of ['warning', 'error', 'critical'] as const)
      expect(canWait(hourly, 'email', { ...info, severity })).toBe(false)
  })

  it('is neither the end of an incident nor anything for who wants no digest', () => {
    expect(canWait(hourly, 'email', { ...info, incident: 'instance/1' })).toBe(false)
    expect(canWait(withDefaults(undefined, {}), 'email', info)).toBe(false)
  })
})

it('leaves channels that take everything out of what goes only by those that name it', () => {
  const email = {
    channel: 'email',
    enabled: true,
    destination: 'a@b.test',
    eventTypes: ['x.Problem'],
  } as const
  const preferences = withDefaults(
    { locale: '', channels: [email], quietHours: undefined, digest: 'off' },
    {},
  )
  const channels = (onlyIfNamed: boolean) =>
    channelsFor(preferences, 'x.Problem', { onlyIfNamed }).map(({ channel }) => channel)
  expect(channels(false)).toEqual(['in_app', 'email'])
  expect(channels(true)).toEqual(['email'])
})

describe('a digest', () => {
  it('goes out at the full hour, or at eight in the morning of the zone', () => {
    const at = (time: string, frequency: 'hourly' | 'daily', zone = 'America/Sao_Paulo') =>
      digestPeriod(new Date(time), frequency, zone)
    expect(at('2026-11-10T10:15:30.250Z', 'hourly')).toEqual({
      key: '2026-11-10T11:00:00.000Z',
      dueMs: 44.5 * 60_000 - 250,
    })
    expect(at('2026-11-10T10:00:00Z', 'daily')).toEqual({ key: '2026-11-10', dueMs: HOUR_MS }) // 07:00
    expect(at('2026-11-10T11:00:00Z', 'daily')).toEqual({ key: '2026-11-11', dueMs: 24 * HOUR_MS }) // 08:00
    expect(at('2026-12-31T12:00:00Z', 'daily', 'UTC')).toEqual({ key: '2027-01-01', dueMs: 20 * HOUR_MS })
  })

  it('is the same one all through its period, and another one after it', () => {
    const at = fc.date({ min: new Date('2026-01-01'), max: new Date('2027-01-01'), noInvalidDate: true })
    fc.assert(
      fc.property(
        at,
        fc.constantFrom('hourly', 'daily'),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (now, frequency, share) => {
          const { key, dueMs } = digestPeriod(now, frequency, 'Asia/Kolkata')
          expect(dueMs).toBeGreaterThan(0)
          const later = (ms: number) => digestPeriod(new Date(now.getTime() + ms), frequency, 'Asia/Kolkata')
          expect(later(Math.floor((dueMs - 1) * share)).key).toBe(key)
          expect(later(dueMs).key > key).toBe(true)
        },
      ),
    )
  })

  it('is one a day also when clocks change', () => {
    const keys = Array.from({ length: 4 * 24 * 7 }, (_, n) => {
      const now = new Date(Date.UTC(2026, 9, 22) + n * 900_000)
      return digestPeriod(now, 'daily', 'Europe/Berlin').key
    })
    expect([...new Set(keys)]).toHaveLength(8)
    expect(keys).toEqual(keys.toSorted())
  })
})

describe('quiet hours', () => {
  it('that pass midnight last until the morning of the zone', () => {
    expect(quietMs(new Date('2026-11-10T02:30:00Z'), NIGHT)).toBe(7.5 * HOUR_MS) // 23:30
    expect(quietMs(new Date('2026-11-10T09:59:30Z'), NIGHT)).toBe(30_000) // 06:59:30
    expect(quietMs(new Date('2026-11-10T10:00:00Z'), NIGHT)).toBe(0) // 07:00
    expect(quietMs(new Date('2026-11-10T00:59:59Z'), NIGHT)).toBe(0) // 21:59:59
  })

  it('within one day hold only that span', () => {
    const noon = { start: '12:00', end: '13:00', timeZone: 'UTC' }
    expect(quietMs(new Date('2026-11-10T12:15:00Z'), noon)).toBe(0.75 * HOUR_MS)
    expect(quietMs(new Date('2026-11-10T13:00:00Z'), noon)).toBe(0)
    expect(quietMs(new Date('2026-11-10T12:15:00Z'), undefined)).toBe(0)
  })

  it('are over when the wait is over, and not a minute before', () => {
    const time = fc.integer({ min: 0, max: 1_439 }).map((minute) => {
      const two = (n: number) => String(n).padStart(2, '0')
      return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`
    })
    const at = fc.date({ min: new Date('2026-01-01'), max: new Date('2027-01-01'), noInvalidDate: true })
    fc.assert(
      fc.property(time, time, at, (start, end, now) => {
        const quiet = { start, end, timeZone: 'Asia/Kolkata' }
        const waitMs = quietMs(now, quiet)
        expect(quietMs(new Date(now.getTime() + waitMs), quiet)).toBe(0)
        if (waitMs > 60_000) expect(quietMs(new Date(now.getTime() + waitMs - 60_000), quiet)).toBe(60_000)
      }),
    )
  })
})
