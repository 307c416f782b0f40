import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { channelsFor, quietMs, withDefaults } from './preferences.ts'

const NIGHT = { start: '22:00', end: '07:00', timeZone: 'America/Sao_Paulo' }
const HOUR_MS = 3_600_000

describe('preferences', () => {
  it('turn the feed on for a user who set nothing, and email only where there is an address', () => {
    const on = (defaultEmail: string) =>
      channelsFor(withDefaults(undefined, defaultEmail), 'any').map(({ channel, destination }) => [
        channel,
        destination,
      ])
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
    const stored = { locale: 'pt-BR', channels: [email], quietHours: NIGHT }
    const preferences = withDefaults(stored, 'team@example.com')
    expect(preferences).toMatchObject({ locale: 'pt-BR', quietHours: NIGHT })
    expect(channelsFor(preferences, 'x.Failed').map(({ channel }) => channel)).toEqual(['in_app', 'email'])
    expect(channelsFor(preferences, 'x.Completed').map(({ channel }) => channel)).toEqual(['in_app'])
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
