// A receiver of docmesh webhooks needs no more than this to know who sent a message, and that it is new.
import { createHmac, timingSafeEqual } from 'node:crypto'

const MAX_AGE_S = 300

/** `body` is the bytes as they came, before any parsing; `secret` what stands after the # of the webhook's URL. */
export function verifyWebhook(
  secret: string,
  headers: Readonly<Record<string, string | undefined>>,
  body: Buffer,
  nowMs = Date.now(),
): boolean {
  const [, timestamp, signature] =
    /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['docmesh-signature'] ?? '') ?? []
  if (!signature || Math.abs(nowMs / 1_000 - Number(timestamp)) > MAX_AGE_S) return false
  const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest()
  return timingSafeEqual(expected, Buffer.from(signature, 'hex'))
}
