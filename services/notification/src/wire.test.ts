import { Channel, type DigestFrequency, Preferences } from '@docmesh/contracts/notification/v1/notification'
import { RpcError } from '@docmesh/rpc'
import { expect, it } from 'vitest'
import { type Present, preferencesFrom } from './wire.ts'

type Input = Parameters<typeof Preferences.fromPartial>[0]

const nothing: Present = { stored: undefined, defaults: {} }
const faultsOf = (input: Input, present = nothing): Record<string, string> => {
  try {
    preferencesFrom(Preferences.fromPartial(input), present)
  } catch (error) {
    if (error instanceof RpcError)
      return Object.fromEntries(
        (error.options.fields ?? []).map(({ field, description }) => [field, description]),
      )
    throw error
  }
  return {}
}
const email = (destination: string) => ({
  channels: [{ channel: Channel.EMAIL, enabled: true, destination }],
})

it('takes one plain address and nothing that could end a header or begin another', () => {
  for (const good of ['ana@example.com', "o'neil+docs@mail.example.com.br"])
    expect(faultsOf(email(good))).toEqual({})
  for (const bad of [
    '',
    'ana',
    'ana@',
    'ana@example.com, eve@example.com',
    'Ana <ana@example.com>',
    'ana@example.com\r\nBcc: eve@example.com',
    'ana@example.com\n',
    `${'a'.repeat(250)}@example.com`,
  ])
    expect(Object.keys(faultsOf(email(bad)))).toEqual(['preferences.channels[0].destination'])
})

it('allows a channel that is off to have no address', () => {
  expect(faultsOf({ channels: [{ channel: Channel.EMAIL, enabled: false }] })).toEqual({})
})

const KEY = '0123456789abcdefghijKLMNOPQRSTUV'
const SECRET = 'sixteen-letters!'

it.each([
  [
    Channel.SLACK,
    'https://hooks.slack.com/services/T0/B0/x',
    ['https://hooks.slack.com/x#y', 'hooks.slack.com'],
  ],
  [Channel.TEAMS, 'https://a.logic.azure.com:443/workflows/x?sig=y', ['ftp://a.test/', 'https://a.test/…']],
  [
    Channel.WEBHOOK,
    `https://example.com/hook#${SECRET}`,
    [
      'https://example.com/hook',
      'https://example.com/hook#short',
      `https://user:password@example.com/hook#${SECRET}`,
      `file:///etc/passwd#${SECRET}`,
      `https://example.com/ho ok#${SECRET}`,
      `https://example.com/\r\nx#${SECRET}`,
      `https://example.com/${'a'.repeat(2_048)}#${SECRET}`,
    ],
  ],
  [Channel.PAGERDUTY, KEY, [KEY.slice(1), `${KEY}0`, '…STUV', `${KEY.slice(1)}\n`]],
  [Channel.OPSGENIE, 'eb243592-faa2-4ba2-a551-1afdf565c889', ['short', `${KEY}\r\nX-Header: 1`, '…c889']],
])('takes as destination of channel %i what its provider gives out', (channel, good, bad) => {
  const to = (destination: string) => ({ channels: [{ channel, enabled: true, destination }] })
  expect(faultsOf(to(good))).toEqual({})
  for (const destination of ['', ...bad])
    expect(Object.keys(faultsOf(to(destination)))).toEqual(['preferences.channels[0].destination'])
})

it('needs no destination where the installation has one', () => {
  const channels = [{ channel: Channel.PAGERDUTY, enabled: true }]
  const present: Present = { stored: undefined, defaults: { pagerduty: KEY } }
  expect(faultsOf({ channels }, present)).toEqual({})
  const masked = [{ channel: Channel.PAGERDUTY, enabled: true, destination: '…STUV' }]
  expect(preferencesFrom(Preferences.fromPartial({ channels: masked }), present).channels).toEqual([
    { channel: 'pagerduty', enabled: true, destination: '', eventTypes: [] },
  ])
})

it('names the channels and digests that there are when another is asked for', () => {
  const channels = [{ channel: 99 as Channel, enabled: true }]
  expect(faultsOf({ channels, digest: 99 as DigestFrequency })).toEqual({
    'preferences.channels[0].channel': expect.stringMatching(/^write CHANNEL_IN_APP or .* CHANNEL_OPSGENIE/),
    'preferences.digest': 'write OFF, HOURLY or DAILY',
  })
})

it('takes times of a day in a zone of the tz database only', () => {
  const quiet = (start: string, end: string, timeZone: string) =>
    faultsOf({ quietHours: { start, end, timeZone } })
  expect(quiet('22:00', '07:00', 'America/Sao_Paulo')).toEqual({})
  expect(Object.keys(quiet('24:00', '7:00', '+03:00'))).toEqual([
    'preferences.quiet_hours.start',
    'preferences.quiet_hours.end',
    'preferences.quiet_hours.time_zone',
  ])
  expect(Object.keys(quiet('22:00', '22:00', 'Mars/Olympus'))).toEqual([
    'preferences.quiet_hours',
    'preferences.quiet_hours.time_zone',
  ])
})

it('names every other fault at once', () => {
  const channels = [
    { channel: Channel.IN_APP, enabled: true, destination: 'x', eventTypes: ['docmesh.Nothing'] },
    { channel: Channel.IN_APP, enabled: false },
  ]
  expect(Object.keys(faultsOf({ locale: 'fr', channels }))).toEqual([
    'preferences.locale',
    'preferences.channels[0].event_types',
    'preferences.channels[0].destination',
    'preferences.channels',
  ])
})

it('keeps an event type once, however often it is written', () => {
  const eventTypes = Array.from({ length: 1_000 }, () => 'docmesh.analysis.v1.AnalysisFailed')
  const channels = [{ channel: Channel.IN_APP, enabled: true, eventTypes }]
  expect(preferencesFrom(Preferences.fromPartial({ channels }), nothing).channels).toMatchObject([
    { eventTypes: ['docmesh.analysis.v1.AnalysisFailed'] },
  ])
})
