import { parseEnv } from '@docmesh/service'
import { expect, it } from 'vitest'
import { env } from './env.ts'

const DATABASE_URL = 'postgres://localhost/docmesh'
const parse = (more: Record<string, string> = {}) => parseEnv(env, { DATABASE_URL, ...more })

it('needs a database and nothing else', () => {
  expect(parse()).toMatchObject({
    smtpUrl: undefined,
    operators: undefined,
    allowedNetworks: undefined,
    pagerDutyUrl: 'https://events.pagerduty.com',
    opsgenieUrl: 'https://api.opsgenie.com',
  })
})

it('reads operators of any tenant, in one order for all instances', () => {
  expect(parse({ NOTIFICATION_OPERATORS: 'rui@example.com, acme/ana' }).operators).toEqual([
    { tenantId: 'acme', userId: 'ana' },
    { tenantId: '', userId: 'rui@example.com' },
  ])
  expect(() => parse({ NOTIFICATION_OPERATORS: 'ana,,rui' })).toThrow('NOTIFICATION_OPERATORS: write users')
})

it('reads networks', () => {
  expect(parse({ NOTIFICATION_ALLOWED_NETWORKS: '10.0.0.0/8, fd00::/8' }).allowedNetworks).toEqual([
    '10.0.0.0/8',
    'fd00::/8',
  ])
  expect(() => parse({ NOTIFICATION_ALLOWED_NETWORKS: 'intranet' })).toThrow(
    'write networks such as 10.0.0.0/8',
  )
})

it('refuses keys that no provider gives out, without repeating them', () => {
  const PAGERDUTY_ROUTING_KEY = 's3cret'
  expect(() => parse({ PAGERDUTY_ROUTING_KEY })).toThrow('PAGERDUTY_ROUTING_KEY: write the integration key')
  expect(() => parse({ PAGERDUTY_ROUTING_KEY })).not.toThrow('s3cret')
  expect(parse({ OPSGENIE_API_KEY: 'eb243592-faa2-4ba2-a551-1afdf565c889' }).opsgenieApiKey).toHaveLength(36)
})
