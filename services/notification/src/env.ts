import { dataEnv, optional, text, url } from '@docmesh/service'
import { z } from 'zod'

const MAILBOX = /^([^<>\p{Cc}]*<[^<>@\s\p{Cc}]+@[^<>@\s\p{Cc}]+>|[^<>@\s\p{Cc}]+@[^<>@\s\p{Cc}]+)$/u

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
      doc: 'Base of the links in email, to <PUBLIC_URL>/analyses/<id>; email has no links when not set.',
    }),
  ),
} as const
