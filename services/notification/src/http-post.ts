import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { checkRange } from '@docmesh/resilience'
import { type Address, type NetworkGuard, pinned } from './network-guard.ts'
import { within } from './time-limit.ts'

export interface HttpRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface HttpAnswer {
  readonly status: number
  /** As the server wrote it; empty when it did not. */
  readonly retryAfter: string
  /** Its beginning when it is too long. */
  readonly body: string
}

/** Sends one POST; rejects with ForbiddenDestination, or what the connection met. */
export type Post = (request: HttpRequest) => Promise<HttpAnswer>

export interface PostOptions {
  readonly guard: NetworkGuard
  /** From resolving the name to the end of the answer; default 10,000. */
  readonly timeoutMs?: number
  /** What is read of an answer; default 64 KiB. */
  readonly maxAnswerBytes?: number
}

/**
 * HTTP to servers that users name: to the addresses that the guard let pass and nowhere else. Redirects are an answer
 * like any other, since they would lead past the guard; nobody can make us read more or wait longer than we want to.
 */
export function createPost({ guard, timeoutMs = 10_000, maxAnswerBytes = 65_536 }: PostOptions): Post {
  checkRange({ timeoutMs }, 1, 60_000)
  checkRange({ maxAnswerBytes }, 1, 1_048_576, { whole: true })

  const exchange = async ({ url, headers, body }: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> => {
    const target = new URL(url)
    const addresses = await guard(target)
    signal.throwIfAborted()
    return exchangeWith(addresses, { target, headers, body, signal, maxAnswerBytes })
  }

  return (request) => within(timeoutMs, (signal) => exchange(request, signal))
}

interface Exchange {
  readonly target: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly signal: AbortSignal
  readonly maxAnswerBytes: number
}

const exchangeWith = (
  addresses: readonly Address[],
  { target, headers, body, signal, maxAnswerBytes }: Exchange,
): Promise<HttpAnswer> =>
  new Promise((resolve, reject) => {
    const request = target.protocol === 'https:' ? requestHttps : requestHttp
    const outgoing = request(target, {
      method: 'POST',
      headers: { 'user-agent': 'docmesh', ...headers, 'content-length': Buffer.byteLength(body) },
      agent: false, // no connection outlives its request: the next one may be for other addresses of the same name
      lookup: pinned(addresses),
      signal,
    })
    outgoing.on('error', reject)
    outgoing.on('response', async (incoming) => {
      const chunks: Buffer[] = []
      let bytes = 0
      try {
        for await (const chunk of incoming) {
          chunks.push(chunk)
          bytes += chunk.length
          if (bytes >= maxAnswerBytes) break
        }
      } catch (error) {
        return reject(error)
      }
      resolve({
        status: incoming.statusCode ?? 0,
        retryAfter: incoming.headers['retry-after'] ?? '',
        body: Buffer.concat(chunks).subarray(0, maxAnswerBytes).toString(),
      })
    })
    outgoing.end(body)
  })
