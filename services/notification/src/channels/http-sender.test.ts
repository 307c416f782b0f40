import { describe, expect, it } from 'vitest'
import { openEmail } from '../email.ts'
import type { HttpAnswer } from '../http-post.ts'
import { ForbiddenDestination } from '../network-guard.ts'
import { claimedOf } from './claimed.fixture.ts'
import { httpSender, retryAfterOf } from './http-sender.ts'
import { webhook } from './webhook.ts'

const NOW = new Date('2026-11-10T12:00:00Z')
const SECRET_URL = 'https://hooks.example.com:443/services/s3cret'

const outcomeOf = (answer: Partial<HttpAnswer> | Error, accepts?: (body: string) => boolean) =>
  httpSender(
    {
      url: (destination) => destination,
      request: ({ destination }) => ({ url: destination, headers: {}, body: '' }),
      ...(accepts && { accepts }),
    },
    {
      clock: () => NOW,
      post: async () => {
        if (answer instanceof Error) throw answer
        return { status: 200, retryAfter: '', body: '', ...answer }
      },
    },
  ).send(claimedOf({ destination: SECRET_URL }))

describe('an answer', () => {
  it.each([200, 201, 202, 204])('of %i is a delivery', async (status) => {
    expect(await outcomeOf({ status })).toEqual({ kind: 'delivered' })
  })

  it.each([301, 302, 307, 400, 401, 403, 404, 405, 410, 413])('of %i is the last one', async (status) => {
    expect(await outcomeOf({ status })).toMatchObject({ permanent: true, serverFault: false })
  })

  it.each([408, 425, 429])('of %i wants another attempt, and is no fault of the server', async (status) => {
    expect(await outcomeOf({ status, retryAfter: '7' })).toEqual({
      kind: 'failed',
      permanent: false,
      serverFault: false,
      error: `answered ${status}`,
      retryAfterMs: 7_000,
    })
  })

  it.each([500, 502, 503, 504, 599])('of %i is a fault of the server that may pass', async (status) => {
    expect(await outcomeOf({ status })).toMatchObject({ permanent: false, serverFault: true })
  })

  it('that is not one of the provider fails, but not its server: others share that, and this address may be wrong', async () => {
    expect(await outcomeOf({ body: '<html>' }, (body) => body === 'ok')).toMatchObject({
      permanent: false,
      serverFault: false,
      error: 'answered 200, but not as the provider does',
    })
    expect(await outcomeOf({ body: 'ok' }, (body) => body === 'ok')).toEqual({ kind: 'delivered' })
  })

  it('leaves no word of its own: it may repeat what was sent', async () => {
    for (const status of [200, 302, 404, 429, 500])
      expect(JSON.stringify(await outcomeOf({ status, body: SECRET_URL }, () => false))).not.toContain(
        's3cret',
      )
  })
})

describe('a connection', () => {
  it('that fails may pass, and says why', async () => {
    const refused = Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })
    expect(await outcomeOf(refused)).toMatchObject({
      permanent: false,
      serverFault: true,
      error: 'ECONNREFUSED',
    })
    expect(await outcomeOf(new Error('no end after 10000 ms'))).toMatchObject({
      error: 'no end after 10000 ms',
    })
  })

  it('that is forbidden is not tried again', async () => {
    expect(await outcomeOf(new ForbiddenDestination('no'))).toMatchObject({
      permanent: true,
      serverFault: false,
      error: 'no',
    })
  })
})

it('takes no host that a user names for the mail server', () => {
  const email = openEmail({ url: 'smtp://mail.test', from: 'a@b.test', linkOf: () => '' })
  const deps = { clock: () => NOW, post: () => Promise.reject(new Error('not sent')) }
  const web = httpSender(webhook({ clock: () => NOW, linkOf: () => '' }), deps)
  for (const host of ['smtp', 'SMTP', 'smtp:', 'smtp:443'])
    expect(web.server(`https://${host}/#sixteen-letters!`)).not.toBe(email.server('ana@example.com'))
})

it('waits as long as it is asked to, but no longer than an hour', () => {
  const asked = [
    '0',
    '30',
    '999999',
    'Tue, 10 Nov 2026 12:01:00 GMT',
    'Tue, 10 Nov 2020 12:00:00 GMT',
    '',
    '-5',
    'soon',
  ]
  expect(asked.map((value) => retryAfterOf(value, NOW))).toEqual([0, 30_000, 3_600_000, 60_000, 0, 0, 0, 0])
})
