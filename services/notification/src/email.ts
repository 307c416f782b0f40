import { redactText } from '@docmesh/telemetry'
import { createTransport } from 'nodemailer'
import type { Sender } from './channel.ts'
import type { Claimed } from './model.ts'
import { emailBodies } from './templates/email.ts'
import { within } from './time-limit.ts'

export interface EmailOptions {
  /** `smtp://` or `smtps://`, with user and password when the server wants them. */
  readonly url: string
  /** Sender, `name <address>`. */
  readonly from: string
  readonly linkOf: (claimed: Claimed) => string
  /** For one message from connecting to the server's last word; default 30,000. */
  readonly sendTimeoutMs?: number
}

/** All email goes to one server. The colon keeps it apart from `https://smtp/`, which a user may name. */
const SERVER = 'smtp:'

interface SmtpError extends Error {
  readonly code?: string
  readonly responseCode?: number
}

/**
 * Email over SMTP, one connection per message. The Message-ID comes from the delivery: when a sender dies between the
 * server's acceptance and our record of it, the message goes out again under the same id, by which mailboxes and
 * people recognise the repeat. SMTP allows no more than that.
 */
export function openEmail({
  url,
  from,
  linkOf,
  sendTimeoutMs = 30_000,
}: EmailOptions): Sender & { verify(): Promise<unknown> } {
  const transport = createTransport({
    ...connectionOf(url),
    connectionTimeout: Math.min(10_000, sendTimeoutMs),
    greetingTimeout: Math.min(10_000, sendTimeoutMs),
    socketTimeout: sendTimeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  const domain = from.slice(from.lastIndexOf('@') + 1).replace('>', '')

  const send: Sender['send'] = async (claimed) => {
    const { id, destination, title, locale } = claimed
    const message = {
      from,
      to: { name: '', address: destination },
      subject: title,
      messageId: `<${id}@${domain}>`,
      headers: { 'Auto-Submitted': 'auto-generated', 'Content-Language': locale },
      ...emailBodies(claimed, locale, linkOf(claimed)),
    }
    try {
      await within(sendTimeoutMs, (signal) => transport.sendMail({ ...message, signal }))
      return { kind: 'delivered' }
    } catch (error) {
      return {
        kind: 'failed',
        permanent: isPermanent(error as SmtpError),
        serverFault: !isAnswer(error as SmtpError),
        error: redactText((error as Error).message).slice(0, 500),
      }
    }
  }

  return { server: () => SERVER, send, verify: () => transport.verify() }
}

/** The server judged this message or this mailbox: it is there and works. 421 says that it is about to leave. */
const isAnswer = ({ code, responseCode }: SmtpError): boolean =>
  (code === 'EENVELOPE' || code === 'EMESSAGE') && responseCode !== 421

/** No other attempt can end otherwise. A refused login or greeting is our set-up, not the message: it is tried again. */
const isPermanent = (error: SmtpError): boolean => isAnswer(error) && (error.responseCode ?? 500) >= 500

function connectionOf(url: string) {
  const { protocol, hostname, port, username, password } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const secure = protocol === 'smtps:'
  const isLocal = host === 'localhost' || host === '::1' || host.startsWith('127.')
  return {
    host,
    secure,
    ...(port && { port: Number(port) }),
    ...(username && {
      auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) },
      // A password leaves this machine over TLS or not at all.
      requireTLS: !secure && !isLocal,
    }),
  }
}
