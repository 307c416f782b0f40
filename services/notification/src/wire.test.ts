import { Channel, DigestFrequency, Preferences } from '@docmesh/contracts/notification/v1/notification'
import { RpcError } from '@docmesh/rpc'
import { expect, it } from 'vitest'
import { preferencesFrom } from './wire.ts'

type Input = Parameters<typeof Preferences.fromPartial>[0]

const faultsOf = (input: Input): Record<string, string> => {
  try {
    preferencesFrom(Preferences.fromPartial(input))
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

it('names the channels and digests that there are when another is asked for', () => {
  const channels = [{ channel: Channel.SLACK, enabled: true, destination: 'https://hooks.example.com/x' }]
  expect(faultsOf({ channels, digest: DigestFrequency.DAILY })).toEqual({
    'preferences.channels[0].channel': 'write CHANNEL_IN_APP or CHANNEL_EMAIL; no other is available',
    'preferences.digest': 'write DIGEST_FREQUENCY_OFF; no other is available',
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
    'preferences.channels[0].destination',
    'preferences.channels[0].event_types',
    'preferences.channels',
  ])
})
