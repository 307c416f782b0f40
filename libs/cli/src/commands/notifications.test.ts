import {
  Channel,
  Delivery,
  DeliveryState,
  DigestFrequency,
  Preferences,
} from '@docmesh/contracts/notification/v1/notification'
import { invalidRequest } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { docmesh, type TestServices } from '../testing.fixture.ts'

/** Keeps what it is given, as the service does. */
function keeping(present: Preferences): TestServices & { readonly kept: () => Preferences } {
  let kept = present
  return {
    kept: () => kept,
    notifications: {
      getPreferences: async () => ({ preferences: kept }),
      putPreferences: async ({ preferences }) => {
        if (!preferences) throw invalidRequest([{ field: 'preferences', description: 'write them' }])
        kept = preferences
        return { preferences }
      },
    },
  }
}

const present = Preferences.fromPartial({
  locale: 'pt-BR',
  channels: [
    { channel: Channel.IN_APP, enabled: true },
    {
      channel: Channel.SLACK,
      enabled: true,
      destination: 'https://hooks.slack.com/***',
      eventTypes: ['a.B'],
    },
  ],
  digest: DigestFrequency.OFF,
})

describe('docmesh notifications preferences', () => {
  it('shows them and changes nothing without options', async () => {
    const services = keeping(present)
    const { exitCode, out } = await docmesh(['notifications', 'preferences'], { services })
    expect(exitCode).toBe(0)
    expect(out).toMatch(/^slack\s+on\s+https:\/\/hooks\.slack\.com\/\*\*\*\s+a\.B$/m)
    expect(out).toContain('quiet hours: none\ndigest: off\n')
    expect(services.kept()).toBe(present)
  })

  it('switches channels on and off and leaves the others as they are', async () => {
    const services = keeping(present)
    const change = [
      '--on',
      'email=maria@example.org',
      '--event',
      'c.D',
      '--off',
      'slack',
      '--digest',
      'daily',
    ]
    const { out } = await docmesh(['notifications', 'preferences', ...change], { services })
    expect(services.kept()).toEqual(
      Preferences.fromPartial({
        ...present,
        channels: [
          present.channels[0] ?? {},
          { ...present.channels[1], enabled: false },
          { channel: Channel.EMAIL, enabled: true, destination: 'maria@example.org', eventTypes: ['c.D'] },
        ],
        digest: DigestFrequency.DAILY,
      }),
    )
    expect(out).toContain('digest: daily')
  })

  it('sets quiet hours with a zone, and takes them away', async () => {
    const services = keeping(present)
    const quiet = (hours: string) => docmesh(['notifications', 'preferences', '--quiet', hours], { services })
    await quiet('22:00-07:00@America/Sao_Paulo')
    expect(services.kept().quietHours).toEqual({
      start: '22:00',
      end: '07:00',
      timeZone: 'America/Sao_Paulo',
    })
    await quiet('off')
    expect(services.kept().quietHours).toBeUndefined()
  })

  it.each([
    ['preferences', '--on', 'constructor'],
    ['preferences', '--digest', 'constructor'],
    ['test', 'constructor'],
  ])('ends with 2 for %s %s %s', async (...args) => {
    const { exitCode, err } = await docmesh(['notifications', ...args], { services: keeping(present) })
    expect({ exitCode, err }).toEqual({ exitCode: 2, err: expect.stringContaining('write one of ') })
  })

  it('refuses what it cannot read, and says what to write', async () => {
    const refusedOf = async (...args: string[]) => docmesh(['notifications', 'preferences', ...args])
    expect(await refusedOf('--on', 'fax')).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('slack'),
    })
    expect(await refusedOf('--quiet', '10pm')).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('22:00-07:00'),
    })
  })
})

const delivery = Delivery.fromPartial({
  id: 'd-1',
  channel: Channel.WEBHOOK,
  destination: 'https://example.org/***',
  state: DeliveryState.FAILED,
  attempts: 8,
  lastError: 'HTTP 503',
})

describe('docmesh notifications deliveries, retry and test', () => {
  it('lists those that were given up', async () => {
    const services: TestServices = {
      notifications: {
        listDeliveries: async ({ states }) => ({
          deliveries: states.includes(DeliveryState.FAILED) ? [delivery] : [],
          nextPageToken: '',
        }),
      },
    }
    const failed = await docmesh(['notifications', 'deliveries', '--failed'], { services })
    expect(failed.out).toMatch(/^d-1\s.*webhook\s+https:\/\/example\.org\/\*\*\*\s+failed\s+8\s+HTTP 503$/m)
    expect((await docmesh(['notifications', 'deliveries'], { services })).out).not.toContain('d-1')
  })

  it('sends one again', async () => {
    const services: TestServices = {
      notifications: {
        retryDelivery: async ({ deliveryId }) => ({
          delivery: { ...delivery, id: deliveryId, state: DeliveryState.PENDING, lastError: '' },
        }),
      },
    }
    const { out } = await docmesh(['notifications', 'retry', 'd-9'], { services })
    expect(out).toMatch(/^d-9\s.*pending/m)
  })

  it('tries the channel that is named', async () => {
    const services: TestServices = {
      notifications: {
        sendTestNotification: async ({ channel }) => ({
          delivery: { ...delivery, channel, state: DeliveryState.DELIVERED, lastError: '' },
        }),
      },
    }
    const { out, exitCode } = await docmesh(['notifications', 'test', 'teams'], { services })
    expect(exitCode).toBe(0)
    expect(out).toMatch(/teams.*delivered/)
  })
})

describe('docmesh notifications watch', () => {
  it('writes a line for each notification until the stream ends', async () => {
    const services: TestServices = {
      notifications: {
        async *watchNotifications() {
          for (const title of ['first', 'second'])
            yield {
              notification: {
                id: title,
                userId: 'maria',
                eventType: '',
                subjectType: '',
                subjectId: '',
                title,
                body: 'text',
                locale: 'en',
                createdAt: new Date('2026-11-21T09:00:00Z'),
                readAt: undefined,
              },
              unreadCount: 1,
            }
        },
      },
    }
    const { out } = await docmesh(['notifications', 'watch'], { services })
    expect(out.trim().split('\n')).toEqual([
      expect.stringContaining('first  text'),
      expect.stringContaining('second  text'),
    ])
  })
})
