import { createServer } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import { freePort } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { createPost } from './http-post.ts'
import { answering, hanging, startHttpServer } from './http-server.fixture.ts'
import { createNetworkGuard, ForbiddenDestination } from './network-guard.ts'

const LOOPBACK = { allowedNetworks: ['127.0.0.0/8'] }
const post = createPost({ guard: createNetworkGuard(LOOPBACK) })
const message = (url: string) => ({ url, headers: { 'content-type': 'application/json' }, body: '{"é":1}' })

/** Listens until the test ends, and says its port. */
async function listening(server: Server, stack: AsyncDisposableStack): Promise<number> {
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  stack.defer(() => new Promise<void>((resolve) => server.close(() => resolve())))
  return port
}

it('sends the body, its length in bytes, and no part of the URL that is a secret', async () => {
  await using server = await startHttpServer(answering(202, 'taken', { 'retry-after': '3' }))
  const answer = await post(message(`${server.url}/a?b=c#secret`))
  expect(answer).toEqual({ status: 202, retryAfter: '3', body: 'taken' })
  expect(server.received).toMatchObject([
    {
      method: 'POST',
      path: '/a?b=c',
      headers: { 'content-type': 'application/json', 'content-length': '8', 'user-agent': 'docmesh' },
      body: '{"é":1}',
    },
  ])
})

it('connects to the addresses that were checked, and resolves the name once', async () => {
  await using server = await startHttpServer()
  const asked: string[] = []
  const guard = createNetworkGuard({
    ...LOOPBACK,
    resolve: async (host) => {
      asked.push(host)
      return asked.length === 1 ? [{ address: '127.0.0.1', family: 4 }] : []
    },
  })
  const url = new URL(server.url)
  url.hostname = 'rebinding.invalid' // no resolver knows it
  expect(await createPost({ guard })(message(url.href))).toMatchObject({ status: 200 })
  expect(asked).toEqual(['rebinding.invalid'])
  expect(server.received[0]?.headers.host).toBe(url.host)
})

it('does not touch what is not allowed', async () => {
  await using server = await startHttpServer()
  const strict = createPost({ guard: createNetworkGuard() })
  await expect(strict(message(server.url))).rejects.toThrow(ForbiddenDestination)
  await expect(strict(message(server.url.replace('127.0.0.1', 'localhost')))).rejects.toThrow(
    ForbiddenDestination,
  )
  expect(server.received).toEqual([])
})

it.each([301, 302, 303, 307, 308])('does not follow a redirect with %i', async (status) => {
  await using inner = await startHttpServer()
  await using server = await startHttpServer(
    answering(status, '', { location: `${inner.url}/latest/meta-data/` }),
  )
  expect(await post(message(server.url))).toMatchObject({ status })
  expect(inner.received).toEqual([])
})

it('reads the beginning of an endless answer and hangs up', async () => {
  await using stack = new AsyncDisposableStack()
  const hungUp = Promise.withResolvers<void>()
  const server = createServer((_request, response) => {
    response.on('close', hungUp.resolve)
    const pour = (): void => {
      while (response.write('x'.repeat(65_536)));
    }
    response.on('drain', pour)
    pour()
  })
  const port = await listening(server, stack)
  const { status, body } = await post(message(`http://127.0.0.1:${port}`))
  expect([status, body.length]).toEqual([200, 65_536])
  await hungUp.promise
})

it('gives up on a server that does not answer, or does not end its answer', async () => {
  const hasty = createPost({ guard: createNetworkGuard(LOOPBACK), timeoutMs: 50 })
  await using silent = await startHttpServer(hanging)
  await expect(hasty(message(silent.url))).rejects.toThrow('no end after 50 ms')
  await using dripping = await startHttpServer((response) => response.writeHead(200).write('x'))
  await expect(hasty(message(dripping.url))).rejects.toThrow('no end after 50 ms')
})

it('gives up on a resolver that does not answer', async () => {
  const guard = createNetworkGuard({ resolve: () => new Promise(() => {}) })
  await expect(createPost({ guard, timeoutMs: 20 })(message('https://slow.test/'))).rejects.toThrow(
    'no end after 20 ms',
  )
})

it('rejects when nobody listens, when the connection breaks, and when what comes is not HTTP', async () => {
  await using stack = new AsyncDisposableStack()
  const nobody = await freePort()
  await expect(post(message(`http://127.0.0.1:${nobody}`))).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  const breaking = createTcpServer((socket) => socket.on('error', () => {}).resetAndDestroy())
  const broken = await listening(breaking, stack)
  await expect(post(message(`http://127.0.0.1:${broken}`))).rejects.toMatchObject({ code: 'ECONNRESET' })
  const babbling = createTcpServer((socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end('\0\x01garbage\r\n\r\n'),
  )
  const garbage = await listening(babbling, stack)
  await expect(post(message(`http://127.0.0.1:${garbage}`))).rejects.toThrow(/Parse Error/)
  const cutting = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('half', () => response.destroy())
  })
  const cut = await listening(cutting, stack)
  await expect(post(message(`http://127.0.0.1:${cut}`))).rejects.toThrow('aborted')
})
