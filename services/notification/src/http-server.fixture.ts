import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Stands in for a provider or a receiver of webhooks. */
export interface HttpServer extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly url: string
  /** Every request in the order received. */
  readonly received: readonly Received[]
  /** How it answers; changed by tests. */
  answer: (response: ServerResponse, request: Received) => void
}

/** Answers with a status, and a body that a test of its own provider may want. */
export const answering =
  (status: number, body = '', headers: Record<string, string> = {}): HttpServer['answer'] =>
  (response) =>
    response.writeHead(status, headers).end(body)

/** Takes the request and says nothing. */
export const hanging: HttpServer['answer'] = () => {}

export async function startHttpServer(
  answer: HttpServer['answer'] = answering(200, 'ok'),
): Promise<HttpServer> {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request
    const one = { method, path: url, headers, body: await text(request).catch(() => '') }
    received.push(one)
    httpServer.answer(response, one)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const httpServer: HttpServer = {
    url: `http://127.0.0.1:${port}`,
    received,
    answer,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return httpServer
}
