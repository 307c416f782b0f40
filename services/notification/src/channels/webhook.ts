import { createHmac } from 'node:crypto'
import { signingSecret } from '../destinations.ts'
import type { Claimed } from '../model.ts'
import type { HttpChannel } from './http-sender.ts'

/**
 * A signed JSON message to a URL of the user. The signature is `HMAC-SHA-256(secret, timestamp + "." + body)`, as
 * Stripe and the Standard Webhooks do: a receiver that checks it and the age of the timestamp cannot be lied to, nor
 * be sent an old message again. A repeat has the same Idempotency-Key.
 */
export const webhook = ({
  clock,
  linkOf,
}: {
  clock: () => Date
  linkOf: (claimed: Claimed) => string
}): HttpChannel => ({
  url: (destination) => destination,
  request: (claimed) => {
    const body = JSON.stringify(messageOf(claimed, linkOf(claimed)))
    const timestamp = String(Math.floor(clock().getTime() / 1_000))
    return {
      url: claimed.destination,
      headers: {
        'content-type': 'application/json',
        'idempotency-key': claimed.id,
        'docmesh-timestamp': timestamp,
        'docmesh-signature': `t=${timestamp},v1=${sign(signingSecret(claimed.destination), timestamp, body)}`,
      },
      body,
    }
  },
})

export const sign = (secret: string, timestamp: string, body: string): string =>
  createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')

const messageOf = (claimed: Claimed, link: string) => ({
  deliveryId: claimed.id,
  notificationId: claimed.notificationId,
  tenantId: claimed.tenantId,
  userId: claimed.userId,
  severity: claimed.severity,
  subject: { type: claimed.subjectType, id: claimed.subjectId },
  title: claimed.title,
  body: claimed.body,
  locale: claimed.locale,
  link,
  createdAt: claimed.createdAt.toISOString(),
  event: {
    id: claimed.eventId,
    type: claimed.eventType,
    correlationId: claimed.correlationId,
    payload: claimed.facts,
  },
})
