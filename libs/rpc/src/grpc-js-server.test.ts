import { connect } from 'node:net'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { eventually, tcpProxy } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type Client,
  Code,
  createClient,
  grpcJsClient,
  grpcJsServer,
  type Handlers,
  implement,
  type Listener,
  routesOf,
  sendOver,
} from './index.ts'

type Documents = typeof DocumentServiceDefinition

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function listen(
  handlers: Handlers<Documents>,
): Promise<{ listener: Listener; client: Client<Documents> }> {
  const routes = routesOf(implement(DocumentServiceDefinition, handlers), [])
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  const connection = grpcJsClient.connect(listener.address)
  releases.push(
    () => listener.close(0),
    () => connection.close(),
  )
  return { listener, client: createClient(DocumentServiceDefinition, sendOver(connection)) }
}

const forever = () => new Promise<never>(() => {})
const chunk = (text: string) => ({ part: { $case: 'chunk', value: Buffer.from(text) } }) as const

/** Longer than any of these closes takes, far longer than a test may: reaching it fails the test. */
const GRACE_MS = 60_000

describe('a server that closes', () => {
  it('lets a unary call in flight finish, and takes no new connection meanwhile', async () => {
    const begun = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    const { listener, client } = await listen({
      async getDocument() {
        begun.resolve()
        await finish.promise
        return { document: { id: 'late' } }
      },
    })
    const call = client.getDocument({})
    await begun.promise
    const closed = listener.close(GRACE_MS)
    const refused = new Promise((resolve) =>
      connect(Number(listener.address.split(':')[1]), '127.0.0.1').on('error', resolve),
    )
    expect(await refused).toMatchObject({ code: 'ECONNREFUSED' })
    finish.resolve()
    expect((await call).document?.id).toBe('late')
    await closed
  })

  it('lets an upload finish whose client is slow, and a download whose reader is', async () => {
    const uploading = Promise.withResolvers<void>()
    const { listener, client } = await listen({
      async uploadDocument(requests) {
        let text = ''
        for await (const { part } of requests) {
          uploading.resolve()
          if (part?.$case === 'chunk') text += part.value.toString()
        }
        return { document: { id: text } }
      },
      async *downloadDocument({ documentId }) {
        yield chunk('first')
        if (documentId === 'quiet') await forever()
        for (let i = 0; i < 40; i++) yield chunk('x'.repeat(65_536))
      },
    })
    const resume = Promise.withResolvers<void>()
    async function* parts() {
      yield chunk('a')
      await resume.promise
      yield chunk('b')
    }
    const upload = client.uploadDocument(parts())
    const quiet = client.downloadDocument({ documentId: 'quiet' })[Symbol.asyncIterator]()
    const busy = client.downloadDocument({ documentId: 'busy' })[Symbol.asyncIterator]()
    await Promise.all([uploading.promise, quiet.next(), busy.next()])

    const closed = listener.close(GRACE_MS)
    await expect(quiet.next()).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' })
    resume.resolve()
    expect((await upload).document?.id).toBe('ab')
    let bytes = 0
    for (let item = await busy.next(); !item.done; item = await busy.next()) {
      if (item.value.part?.$case === 'chunk') bytes += item.value.part.value.length
    }
    expect(bytes).toBe(40 * 65_536)
    await closed
  })

  it('ends a stream that waits for news with SHUTTING_DOWN, and aborts its signal', async () => {
    const aborted = Promise.withResolvers<void>()
    const { listener, client } = await listen({
      async *downloadDocument(_, { signal }) {
        signal.addEventListener('abort', () => aborted.resolve())
        yield chunk('first')
        await forever()
      },
    })
    const stream = client.downloadDocument({})[Symbol.asyncIterator]()
    expect((await stream.next()).done).toBe(false)
    const next = stream.next()
    const closed = listener.close(GRACE_MS)
    await expect(next).rejects.toMatchObject({ code: Code.UNAVAILABLE, reason: 'SHUTTING_DOWN' })
    await aborted.promise
    await closed
  })

  it('ends a stream with SHUTTING_DOWN even if its handler takes the abort for a normal end', async () => {
    const { listener, client } = await listen({
      async *downloadDocument(_, { signal }) {
        yield chunk('first')
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      },
    })
    const stream = client.downloadDocument({})[Symbol.asyncIterator]()
    await stream.next()
    const closed = listener.close(GRACE_MS)
    await expect(stream.next()).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' })
    await closed
  })

  it('ends the requests of a two-way stream too, so that its handler cleans up', async () => {
    const cleaned = Promise.withResolvers<unknown>()
    const handlers: Handlers<typeof RegistryServiceDefinition> = {
      async *register(requests) {
        try {
          for await (const _ of requests) yield { message: { $case: 'lease', value: {} } }
        } catch (error) {
          cleaned.resolve(error)
          throw error
        }
      },
    }
    const routes = routesOf(implement(RegistryServiceDefinition, handlers), [])
    const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
    const connection = grpcJsClient.connect(listener.address)
    releases.push(() => connection.close())
    async function* requests() {
      yield { message: { $case: 'registration', value: {} } } as const
      await forever()
    }
    const stream = createClient(RegistryServiceDefinition, sendOver(connection)).register(requests())
    const leases = stream[Symbol.asyncIterator]()
    await leases.next()
    const closed = listener.close(GRACE_MS)
    await expect(leases.next()).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' })
    expect(await cleaned.promise).toMatchObject({ reason: 'SHUTTING_DOWN' })
    await closed
  })

  it('cuts off what still runs after the grace', async () => {
    const begun = Promise.withResolvers<void>()
    const { listener, client } = await listen({
      getDocument() {
        begun.resolve()
        return forever()
      },
    })
    const call = client.getDocument({})
    await begun.promise
    const closed = listener.close(20)
    await expect(call).rejects.toMatchObject({ code: expect.any(Number), remote: { notSent: false } })
    await closed
  })
})

describe('a server', () => {
  it('says which address it cannot listen on, and why', async () => {
    const { listener } = await listen({})
    await expect(grpcJsServer.listen(listener.address, [])).rejects.toThrow(
      new RegExp(`^Cannot listen on ${listener.address}: .*EADDRINUSE`),
    )
  })

  it('does not take the requests of a caller whose connection broke for complete', async () => {
    const begun = Promise.withResolvers<void>()
    const seen = Promise.withResolvers<unknown>()
    const { listener } = await listen({
      async uploadDocument(requests) {
        try {
          for await (const _ of requests) begun.resolve()
          seen.resolve('complete')
        } catch (error) {
          seen.resolve(error)
          throw error
        }
        return {}
      },
    })
    const proxy = await tcpProxy(`tcp://${listener.address}`)
    const connection = grpcJsClient.connect(`127.0.0.1:${proxy.port}`)
    releases.push(
      () => proxy.close(),
      () => connection.close(),
    )
    async function* parts() {
      yield chunk('a')
      await forever()
    }
    const client = createClient(DocumentServiceDefinition, sendOver(connection))
    const failed = expect(client.uploadDocument(parts())).rejects.toThrow()
    await begun.promise
    proxy.cut()
    await failed
    expect(await seen.promise).toMatchObject({ name: 'AbortError' })
  })

  it('stops producing for a reader that left while it waited for the reader', async () => {
    const left = Promise.withResolvers<void>()
    const { client } = await listen({
      async *downloadDocument() {
        try {
          for (;;) yield chunk('x'.repeat(1 << 20))
        } finally {
          left.resolve()
        }
      },
    })
    for await (const _ of client.downloadDocument({})) break
    await eventually(() => left.promise)
  })
})
