import { redactText } from '@docmesh/telemetry'
import type { Outcome, Sender } from '../channel.ts'
import type { HttpAnswer, HttpRequest, Post } from '../http-post.ts'
import type { Claimed } from '../model.ts'
import { ForbiddenDestination } from '../network-guard.ts'

/** What one provider wants to be sent. */
export interface HttpChannel {
  /** Where a destination is reached. */
  readonly url: (destination: string) => string
  readonly request: (claimed: Claimed) => HttpRequest
  /** Whether an answer of 2xx is one of this provider; default: any is. */
  readonly accepts?: (body: string) => boolean
}

export interface HttpSenderDeps {
  readonly post: Post
  readonly clock: () => Date
}

const MAX_RETRY_AFTER_MS = 3_600_000
const TRY_AGAIN = [408, 425, 429]

/** Sends over HTTP. Of an answer only the status is kept: its text may repeat what was sent, secrets included. */
export function httpSender({ url, request, accepts }: HttpChannel, { post, clock }: HttpSenderDeps): Sender {
  const outcomeOf = ({ status, retryAfter, body }: HttpAnswer): Outcome => {
    if (status >= 200 && status < 300) {
      if (!accepts || accepts(body)) return { kind: 'delivered' }
      return failure(`answered ${status}, but not as the provider does`, {})
    }
    const retryAfterMs = retryAfterOf(retryAfter, clock())
    if (status >= 500) return failure(`answered ${status}`, { serverFault: true, retryAfterMs })
    if (TRY_AGAIN.includes(status)) return failure(`answered ${status}`, { retryAfterMs })
    const redirects = status >= 300 && status < 400
    return failure(`answered ${status}${redirects ? ': redirects are not followed' : ''}`, {
      permanent: true,
    })
  }

  return {
    server: (destination) => new URL(url(destination)).host,
    async send(claimed) {
      try {
        return outcomeOf(await post(request(claimed)))
      } catch (error) {
        if (error instanceof ForbiddenDestination) return failure(error.message, { permanent: true })
        // Refused by all addresses of a name, the error has a code and no message.
        const { message, code = '' } = error as NodeJS.ErrnoException
        return failure(redactText(message || code).slice(0, 500), { serverFault: true })
      }
    },
  }
}

const failure = (
  error: string,
  { permanent = false, serverFault = false, retryAfterMs = 0 }: Partial<Outcome & { kind: 'failed' }>,
): Outcome => ({ kind: 'failed', permanent, serverFault, error, retryAfterMs })

/** Seconds or a date (RFC 9110, 10.2.3), at most an hour; 0 for anything else. */
export function retryAfterOf(value: string, now: Date): number {
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now.getTime()
  return Math.min(Math.max(ms || 0, 0), MAX_RETRY_AFTER_MS)
}
