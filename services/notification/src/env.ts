import { dataEnv, optional, text, url } from '@docmesh/service'
import { z } from 'zod'
import { destinationFault } from './destinations.ts'
import type { Owner } from './model.ts'
import { parseNetwork } from './network-guard.ts'
import type { Channel } from './preferences.ts'

const MAILBOX = /^([^<>\p{Cc}]*<[^<>@\s\p{Cc}]+@[^<>@\s\p{Cc}]+>|[^<>@\s\p{Cc}]+@[^<>@\s\p{Cc}]+)$/u

const listOf = (value: string): string[] => value.split(',').map((part) => part.trim())

const networks = z
  .string()
  .transform(listOf)
  .refine(
    (all) => all.every(parseNetwork),
    'write networks such as 10.0.0.0/8, several with commas between them',
  )

/** `user` of the default tenant, or `tenant/user`. */
const ownerOf = (text: string): Owner => {
  const slash = text.indexOf('/')
  return { tenantId: text.slice(0, Math.max(slash, 0)), userId: text.slice(slash + 1) }
}

const operators = z
  .string()
  .transform((value) => listOf(value).toSorted().map(ownerOf))
  .refine(
    (all) => all.every(({ userId }) => userId !== ''),
    'write users, `user` or `tenant/user`, with commas',
  )

const key = (channel: Channel) =>
  z.string().refine((text) => destinationFault(channel, text) === '', destinationFault(channel, ''))

export const env = {
  ...dataEnv,
  smtpUrl: optional(
    url('SMTP_URL', ['smtp', 'smtps'], {
      doc: 'Mail server, smtp://user:password@host:port or smtps://…; no email is sent when not set.',
    }),
  ),
  smtpFrom: {
    ...text('SMTP_FROM', {
      fallback: 'docmesh <docmesh@localhost>',
      doc: 'Sender of email, `name <address>`; its domain also ends the Message-ID.',
    }),
    schema: z.string().regex(MAILBOX, 'write an address or `name <address>`'),
  },
  defaultEmail: optional({
    ...text('NOTIFICATION_DEFAULT_EMAIL', {
      doc: 'Where email goes for a user who set no preference for it; nowhere when not set.',
    }),
    schema: z.email('write an address, for example team@example.com'),
  }),
  publicUrl: optional(
    url('PUBLIC_URL', ['http', 'https'], {
      doc: 'Base of the links in messages, to <PUBLIC_URL>/analyses/<id>; they have no links when not set.',
    }),
  ),
  operators: optional({
    ...text('NOTIFICATION_OPERATORS', {
      doc: 'Users who are told of the installation itself (unhealthy services, failed backups, jobs given up), `user` or `tenant/user` with commas; nobody when not set.',
    }),
    schema: operators,
  }),
  allowedNetworks: optional({
    ...text('NOTIFICATION_ALLOWED_NETWORKS', {
      doc: 'Networks such as 10.0.0.0/8, with commas, that webhooks of users may reach although they are not public, over any port and without TLS; none when not set.',
    }),
    schema: networks,
  }),
  pagerDutyRoutingKey: optional({
    ...text('PAGERDUTY_ROUTING_KEY', {
      doc: 'Integration key for users who switch PagerDuty on without a key of their own.',
    }),
    schema: key('pagerduty'),
  }),
  pagerDutyUrl: url('PAGERDUTY_URL', ['https', 'http'], {
    fallback: 'https://events.pagerduty.com',
    doc: 'PagerDuty Events API v2; https://events.eu.pagerduty.com for accounts in the EU.',
  }),
  opsgenieApiKey: optional({
    ...text('OPSGENIE_API_KEY', {
      doc: 'API key for users who switch Opsgenie on without a key of their own.',
    }),
    schema: key('opsgenie'),
  }),
  opsgenieUrl: url('OPSGENIE_URL', ['https', 'http'], {
    fallback: 'https://api.opsgenie.com',
    doc: 'Opsgenie Alert API; https://api.eu.opsgenie.com for accounts in the EU.',
  }),
} as const
