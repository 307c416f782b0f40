import { expect, test } from 'vitest'
import { nextTime } from './cron.ts'

const at = (text: string): Date => new Date(text)

test('the next time is in UTC and strictly after the given one', () => {
  expect(nextTime('30 2 * * *', at('2026-11-21T02:29:59Z'))).toEqual(at('2026-11-21T02:30:00Z'))
  expect(nextTime('30 2 * * *', at('2026-11-21T02:30:00Z'))).toEqual(at('2026-11-22T02:30:00Z'))
  expect(nextTime('*/15 9-17 * * MON-FRI', at('2026-11-20T17:45:00Z'))).toEqual(at('2026-11-23T09:00:00Z'))
})

test('CRON_TZ names the zone that the fields are meant in', () => {
  expect(nextTime('CRON_TZ=America/Sao_Paulo 0 8 * * *', at('2026-11-21T00:00:00Z'))).toEqual(
    at('2026-11-21T11:00:00Z'),
  )
})

test('a zone keeps its hour when its clocks are set back', () => {
  const daily = 'CRON_TZ=Europe/Berlin 0 8 * * *'
  expect(nextTime(daily, at('2026-10-24T00:00:00Z'))).toEqual(at('2026-10-24T06:00:00Z'))
  expect(nextTime(daily, at('2026-10-25T00:00:00Z'))).toEqual(at('2026-10-25T07:00:00Z'))
})

test('a time that its zone leaves out is the next one there is, and one that comes twice is taken once', () => {
  const nightly = 'CRON_TZ=Europe/Berlin 30 2 * * *'
  expect(nextTime(nightly, at('2026-03-28T12:00:00Z'))).toEqual(at('2026-03-29T01:00:00Z'))
  expect(nextTime(nightly, at('2026-03-29T01:00:00Z'))).toEqual(at('2026-03-30T00:30:00Z'))
  expect(nextTime(nightly, at('2026-10-24T12:00:00Z'))).toEqual(at('2026-10-25T00:30:00Z'))
  expect(nextTime(nightly, at('2026-10-25T00:30:00Z'))).toEqual(at('2026-10-26T01:30:00Z'))
})

test.each([
  '',
  'soon',
  '* * * * * *',
  '61 * * * *',
  '0 0 30 2 *',
  'CRON_TZ=Mars/Base * * * * *',
  // Would come once: the run that ends then could not make the next one.
  '2026-12-24T00:00:00',
  'CRON_TZ=UTC 2026-12-24T00:00:00',
])('refuses "%s"', (cron) => {
  expect(() => nextTime(cron, at('2026-11-21T00:00:00Z'))).toThrow(RangeError)
})
