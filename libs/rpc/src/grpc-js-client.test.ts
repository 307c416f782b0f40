import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { callOf } from './call.fixture.ts'
import {
  Code,
  createClient,
  createGrpcJsClient,
  type GrpcJsClientOptions,
  grpcJsClient,
  grpcJsServer,
  implement,
  routesOf,
  sendOver,
} from './index.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

it('does not keep the messages of an upload until its end', async () => {
  const implementation = implement(DocumentServiceDefinition, {
    async uploadDocument(requests) {
      for await (const _ of requests);
      return {}
    },
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  const connection = grpcJsClient.connect(listener.address)
  releases.push(
    () => listener.close(0),
    () => connection.close(),
  )
  const call = callOf('uploadDocument')
  const sent: WeakRef<Uint8Array>[] = []
  const message = () => {
    const bytes = call.method.request.encode({ part: { $case: 'chunk', value: Buffer.alloc(65_536) } })
    sent.push(new WeakRef(bytes))
    return bytes
  }
  let kept: number | undefined
  async function* parts() {
    for (let i = 0; i < 100; i++) yield message()
    await eventually(() => {
      collectGarbage()
      kept = sent.filter((ref) => ref.deref() !== undefined).length
      if (kept > 20) throw new Error(`${kept} of 100 messages are still in memory`)
    })
  }
  expect(await Array.fromAsync(connection.stream(call, parts()))).toHaveLength(1)
  expect(kept).toBeLessThanOrEqual(20)
})

/** Takes connections and never says a word. */
async function silentServer() {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.resume().on('close', () => sockets.delete(socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  releases.push(close)
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, close }
}

function documentsAt(address: string, options: GrpcJsClientOptions) {
  const connection = createGrpcJsClient(options).connect(address)
  releases.push(() => connection.close())
  return { connection, client: createClient(DocumentServiceDefinition, sendOver(connection)) }
}

const named = (id: string) =>
  implement(DocumentServiceDefinition, { getDocument: async () => ({ document: { id } }) })

describe('a peer that takes the connection and stays silent', () => {
  it('is given up, and the calls that wait for it fail as not sent', async () => {
    const { address } = await silentServer()
    let discarded = 0
    const { client } = documentsAt(address, { connectTimeoutMs: 300, onDiscard: () => discarded++ })
    const answers = await Promise.allSettled([
      client.getDocument({}, { timeoutMs: 60_000 }),
      client.getDocument({}, { timeoutMs: 60_000 }),
    ])
    for (const answer of answers)
      expect(answer).toMatchObject({
        reason: { reason: 'NO_ENDPOINT', remote: { notSent: true, connectionFailed: true } },
      })
    expect(discarded).toBe(1)
  })

  it('costs one socket at a time, however long it is silent', async () => {
    const { address, sockets } = await silentServer()
    let discarded = 0
    const { client } = documentsAt(address, { connectTimeoutMs: 300, onDiscard: () => discarded++ })
    await expect(client.getDocument({})).rejects.toMatchObject({ reason: 'NO_ENDPOINT' })
    await eventually(() => expect(discarded).toBeGreaterThan(2))
    expect(sockets.size).toBeLessThan(3)
  })

  it('is called again when it speaks', async () => {
    const silent = await silentServer()
    const { client } = documentsAt(silent.address, { connectTimeoutMs: 300 })
    await expect(client.getDocument({})).rejects.toMatchObject({ reason: 'NO_ENDPOINT' })
    await silent.close()
    const listener = await grpcJsServer.listen(silent.address, routesOf(named('back'), []))
    releases.push(() => listener.close(0))
    await eventually(async () => expect((await client.getDocument({})).document?.id).toBe('back'))
  })
})

it('does not give a connection up that was made in time', async () => {
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(named('quick'), []))
  releases.push(() => listener.close(0))
  let discarded = 0
  const { client } = documentsAt(listener.address, { connectTimeoutMs: 300, onDiscard: () => discarded++ })
  const until = performance.now() + 500
  while (performance.now() < until) expect((await client.getDocument({})).document?.id).toBe('quick')
  expect(discarded).toBe(0)
})

it('does not take a peer that refuses connections for one that is stuck', async () => {
  let discarded = 0
  const { client } = documentsAt('127.0.0.1:1', { connectTimeoutMs: 300, onDiscard: () => discarded++ })
  const until = performance.now() + 500
  while (performance.now() < until)
    await expect(client.getDocument({})).rejects.toMatchObject({ reason: 'NO_ENDPOINT' })
  expect(discarded).toBe(0)
})

it('refuses calls once it is closed', async () => {
  const { client, connection } = documentsAt('127.0.0.1:1', {})
  connection.close()
  await expect(client.getDocument({})).rejects.toMatchObject({ remote: { notSent: true } })
  await expect(Array.fromAsync(client.downloadDocument({}))).rejects.toMatchObject({
    remote: { notSent: true },
  })
})

it('lets a call finish on a connection that drains, however many keepalives fall due meanwhile', async () => {
  const begun = Promise.withResolvers<void>()
  const finish = Promise.withResolvers<void>()
  const implementation = implement(DocumentServiceDefinition, {
    async getDocument() {
      begun.resolve()
      await finish.promise
      return { document: { id: 'late' } }
    },
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  const { client } = documentsAt(listener.address, { keepaliveMs: 20, keepaliveTimeoutMs: 20 })
  const call = client.getDocument({}, { timeoutMs: 60_000 })
  await begun.promise
  const closed = listener.close(60_000)
  const drained = documentsAt(listener.address, {}).client
  await eventually(() => expect(drained.getDocument({})).rejects.toMatchObject({ reason: 'NO_ENDPOINT' }))
  setTimeout(finish.resolve, 200)
  expect((await call).document?.id).toBe('late')
  await closed
})

describe('a call with more metadata than it may have', () => {
  it.each([17_000, 100_000, 1_000_000])(
    'of %d bytes is refused before it is sent, and breaks no other call',
    async (bytes) => {
      const arrived: string[] = []
      const finish = Promise.withResolvers<void>()
      const implementation = implement(DocumentServiceDefinition, {
        async getDocument({ documentId }) {
          arrived.push(documentId)
          await finish.promise
          return { document: { id: 'served' } }
        },
        async *downloadDocument() {},
      })
      const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
      const connection = grpcJsClient.connect(listener.address)
      releases.push(
        () => listener.close(0),
        () => connection.close(),
      )
      const client = createClient(DocumentServiceDefinition, sendOver(connection))
      const metadata = { 'x-note': 'x'.repeat(bytes) }
      const other = client.getDocument(
        { documentId: 'other' },
        { metadata: { 'x-note': 'x'.repeat(15_000) } },
      )
      const refusal = { code: Code.RESOURCE_EXHAUSTED, reason: 'METADATA_TOO_LARGE' }
      await expect(client.getDocument({}, { metadata })).rejects.toMatchObject(refusal)
      await expect(
        client.downloadDocument({}, { metadata })[Symbol.asyncIterator]().next(),
      ).rejects.toMatchObject(refusal)
      finish.resolve()
      expect((await other).document?.id).toBe('served')
      expect(arrived).toEqual(['other'])
    },
  )
})
