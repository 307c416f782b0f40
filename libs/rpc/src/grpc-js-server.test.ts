import { once } from 'node:events'
import { connect } from 'node:net'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { eventually, tcpProxy } from '@docmesh/testing'
import * as grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { createGrpcJsServer } from './grpc-js-server.ts'
import {
  type Client,
  Code,
  createClient,
  fromGrpcStatus,
  grpcJsClient,
  grpcJsServer,
  type Handlers,
  implement,
  type Listener,
  routesOf,
  rpcError,
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

const same = (bytes: Buffer): Buffer => bytes
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

  it('closes connections that say nothing, or less than a client says first, and serves the others', async () => {
    const handlers: Handlers<Documents> = { getDocument: async () => ({ document: { id: 'served' } }) }
    const routes = routesOf(implement(DocumentServiceDefinition, handlers), [])
    const listener = await createGrpcJsServer({ prefaceTimeoutMs: 300 }).listen('127.0.0.1:0', routes)
    const connection = grpcJsClient.connect(listener.address)
    releases.push(
      () => listener.close(0),
      () => connection.close(),
    )
    const client = createClient(DocumentServiceDefinition, sendOver(connection))
    const serve = async () => expect((await client.getDocument({})).document?.id).toBe('served')
    await serve()
    const port = Number(listener.address.split(':')[1])
    const silent = Array.from({ length: 500 }, () => connect(port, '127.0.0.1'))
    const closed = Promise.all(silent.map((socket) => once(socket.resume(), 'close')))
    await Promise.all(silent.map((socket) => once(socket, 'connect')))
    for (const socket of silent.slice(0, 250)) socket.write('PRI * HTTP/2.0\r\n')
    await serve()
    await closed
    await serve()
  })

  it('lets in every client of many that come at once, whoever leaves meanwhile', async () => {
    const { listener } = await listen({})
    const port = Number(listener.address.split(':')[1])
    const sockets = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])
    for (const socket of sockets) {
      socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
      socket.write(emptySettings)
    }
    const [leaving, staying] = [sockets.slice(0, 50), sockets.slice(50)]
    for (const socket of leaving) socket.destroy()
    const answers = await Promise.all(staying.map((socket) => once(socket, 'data')))
    for (const [frame] of answers) expect(frame[3]).toBe(4)
    await listener.close(GRACE_MS)
  })

  it('does not wait for connections that say nothing when it closes', async () => {
    const { listener } = await listen({})
    const socket = connect(Number(listener.address.split(':')[1]), '127.0.0.1')
    await once(socket, 'connect')
    const gone = once(socket.resume(), 'close')
    await Promise.all([listener.close(GRACE_MS), gone])
  })

  it('answers a call whose error says a great deal, and the others on its connection', async () => {
    const begun = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    const { client } = await listen({
      async getDocument({ documentId: name }) {
        if (name !== 'other')
          throw rpcError('DOCUMENT_NOT_FOUND', `Not here: ${name}`, { resource: { type: 'document', name } })
        begun.resolve()
        await finish.promise
        return { document: { id: 'other' } }
      },
    })
    const other = client.getDocument({ documentId: 'other' }, { timeoutMs: 30_000 })
    await begun.promise
    for (const documentId of ['x'.repeat(100_000), 'é'.repeat(500_000)])
      await expect(client.getDocument({ documentId })).rejects.toMatchObject({ reason: 'DOCUMENT_NOT_FOUND' })
    finish.resolve()
    expect((await other).document?.id).toBe('other')
  })

  it.each(['GetDocument', 'DownloadDocument'])(
    'refuses %s with more than 16 KiB of metadata, and takes what is less',
    async (method) => {
      const { listener } = await listen({
        getDocument: async () => ({}),
        async *downloadDocument() {
          yield chunk('x')
        },
      })
      const client = new grpc.Client(listener.address, grpc.credentials.createInsecure())
      releases.push(() => client.close())
      const statusWith = (bytes: number): Promise<grpc.StatusObject> =>
        new Promise((resolve) => {
          const big = new grpc.Metadata()
          big.set('x-note', 'x'.repeat(bytes))
          const path = `/docmesh.document.v1.DocumentService/${method}`
          const call = client.makeServerStreamRequest(path, same, same, Buffer.alloc(0), big)
          call.resume().on('error', () => {}) // `status` tells it too
          call.on('status', resolve)
        })
      const refusal = await statusWith(16 * 1024)
      expect([refusal.code, fromGrpcStatus(refusal).reason]).toEqual([
        Code.RESOURCE_EXHAUSTED,
        'METADATA_TOO_LARGE',
      ])
      expect((await statusWith(15 * 1024)).code).toBe(Code.OK)
    },
  )
})
