import { type BreakerOptions, createBreaker, createGuard } from '@docmesh/resilience'
import { RpcError, rpcError } from '@docmesh/rpc'
import { redactText } from '@docmesh/telemetry'
import { createTransport } from 'nodemailer'
import type { Claimed } from './model.ts'
import { emailBodies } from './templates.ts'

/** How one attempt to send went. `refused` was not an attempt: the circuit is open. */
export type Outcome =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'failed'; readonly permanent: boolean; readonly error: string }
  | { readonly kind: 'refused'; readonly retryAfterMs: number }

/** Sends one delivery to its destination; never rejects. */
export type Send = (claimed: Claimed) => Promise<Outcome>

export interface EmailOptions {
  /** `smtp://` or `smtps://`, with user and password when the server wants them. */
  readonly url: string
  /** Sender, `name <address>`. */
  readonly from: string
  /** Base of links; empty for none. */
  readonly publicUrl?: string
  /** For one message from connecting to the server's last word; default 30,000. */
  readonly sendTimeoutMs?: number
  /** Default: 5 failures in a row open it for 10 s, doubling to a minute; one message then tries. */
  readonly breaker?: BreakerOptions
}

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
  publicUrl = '',
  sendTimeoutMs = 30_000,
  breaker = { trip: { kind: 'CONSECUTIVE' }, probes: 1, probeTimeoutMs: 2 * sendTimeoutMs },
}: EmailOptions): { readonly send: Send; verify(): Promise<unknown> } {
  const transport = createTransport({
    ...connectionOf(url),
    connectionTimeout: Math.min(10_000, sendTimeoutMs),
    greetingTimeout: Math.min(10_000, sendTimeoutMs),
    socketTimeout: sendTimeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  const domain = from.slice(from.lastIndexOf('@') + 1).replace('>', '')
  const now = () => performance.now()
  const guard = createGuard(createBreaker(breaker, { now, random: Math.random }), {
    now,
    refused: (retryAfterMs) => rpcError('CIRCUIT_OPEN', 'The mail server fails too often.', { retryAfterMs }),
    classify: (error) => (isAnswer(error as SmtpError) ? 'SUCCESS' : 'FAILURE'),
  })

  const send: Send = async (claimed) => {
    const { id, destination, title, locale, subjectType, subjectId } = claimed
    const link =
      publicUrl && subjectType === 'analysis'
        ? `${publicUrl.replace(/\/+$/, '')}/analyses/${encodeURIComponent(subjectId)}`
        : ''
    const message = {
      from,
      to: { name: '', address: destination },
      subject: title,
      messageId: `<${id}@${domain}>`,
      headers: { 'Auto-Submitted': 'auto-generated', 'Content-Language': locale },
      ...emailBodies(claimed, locale, link),
    }
    try {
      await guard((signal) => transport.sendMail({ ...message, signal }), AbortSignal.timeout(sendTimeoutMs))
      return { kind: 'delivered' }
    } catch (error) {
      if (error instanceof RpcError) return { kind: 'refused', retryAfterMs: error.options.retryAfterMs ?? 0 }
      return {
        kind: 'failed',
        permanent: isPermanent(error as SmtpError),
        error: messageOf(error as Error, sendTimeoutMs),
      }
    }
  }

  return { send, verify: () => transport.verify() }
}

/** The server judged this message or this mailbox: it is there and works. 421 says that it is about to leave. */
const isAnswer = ({ code, responseCode }: SmtpError): boolean =>
  (code === 'EENVELOPE' || code === 'EMESSAGE') && responseCode !== 421

/** No other attempt can end otherwise. A refused login or greeting is our set-up, not the message: it is tried again. */
const isPermanent = (error: SmtpError): boolean => isAnswer(error) && (error.responseCode ?? 500) >= 500

const messageOf = ({ name, message }: Error, sendTimeoutMs: number): string =>
  name === 'TimeoutError' ? `no end after ${sendTimeoutMs} ms` : redactText(message).slice(0, 500)

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
