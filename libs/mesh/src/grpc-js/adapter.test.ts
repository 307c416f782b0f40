// What the target relies on in grpc-js, which promises nothing about its experimental part.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { Registration } from '@docmesh/contracts/registry/v1/registry'
import { grpcJsServer, implement, routesOf } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import * as grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { joinMesh } from '../mesh.ts'
import { startRegistry } from '../registry.fixture.ts'
import { readContract } from './contract.ts'
import type { TargetService } from './target-service.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

it('grpc-js has the experimental functions that the adapter uses', () => {
  const { experimental } = grpc
  expect({
    functions: [
      experimental.registerResolver,
      experimental.registerLoadBalancerType,
      experimental.statusOrFromValue,
      experimental.statusOrFromError,
      experimental.splitHostPort,
    ].map((each) => typeof each),
    results: experimental.PickResultType,
    keys: [experimental.CHANNEL_ARGS_CONFIG_SELECTOR_KEY, experimental.SUBCHANNEL_ARGS_EXCLUDE_KEY_PREFIX],
  }).toMatchObject({
    functions: Array(5).fill('function'),
    results: { COMPLETE: 0, QUEUE: 1, TRANSIENT_FAILURE: 2, DROP: 3 },
    keys: [expect.any(String), expect.any(String)],
  })
})

/** The target over a registry that lists one instance of the document service. */
async function target(address: string, connectTimeoutMs = 5_000) {
  const { useDirectory } = await import('./adapter.ts')
  const { createDirectory } = await import('./directory.ts')
  const registry = await startRegistry()
  releases.push(registry.stop)
  registry.put(Registration.fromPartial({ service: 'document', instanceId: 'a', address, incarnation: 1n }))
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const directory = createDirectory({
    join: () => joinMesh({ registryTargets: [registry.address], logger: silentLogger, metrics }),
    leave: (mesh) => mesh.close(),
    methodAt: readContract(),
    hedged: new Set(),
    unaryTimeoutMs: 5_000,
    connectTimeoutMs,
  })
  useDirectory(directory)
  releases.push(() => useDirectory(undefined))
  const client = new grpc.Client('mesh:///document', grpc.credentials.createInsecure())
  releases.push(() => client.close())
  const service = await new Promise<TargetService>((resolve) => {
    const stop = directory.follow('document', (found) => {
      if ('endpoints' in found) resolve(found)
    })
    releases.push(stop)
  })
  return { client, pending: () => service.endpoints.list().map(({ pending }) => pending) }
}

const PATH = '/docmesh.document.v1.DocumentService/'
const EMPTY = Buffer.alloc(0)
const same = (bytes: Buffer): Buffer => bytes

describe('the calls that count as pending', () => {
  /** Answers by the name that the client gives: at once, too late, or with an error. */
  async function instance() {
    const listener = await grpcJsServer.listen(
      '127.0.0.1:0',
      routesOf(
        implement(DocumentServiceDefinition, {
          getDocument: async () => ({ document: { id: 'a' } }),
          listDocuments: () => new Promise(() => {}),
          searchDocuments: () => Promise.reject(new Error('broken')),
          async *downloadDocument() {
            for (;;) yield { part: { $case: 'chunk' as const, value: EMPTY } }
          },
        }),
        [],
      ),
    )
    releases.push(() => listener.close(0))
    return listener.address
  }

  it('are none after calls that were answered, failed, were late, were cancelled anywhere, or were never sent', async () => {
    const { client, pending } = await target(await instance())
    const never = grpc.credentials.createFromMetadataGenerator((_, done) => done(new Error('no token')))
    const slow = grpc.credentials.createFromMetadataGenerator((_, done) =>
      setTimeout(() => done(null, new grpc.Metadata()), 20),
    )
    const twice = new grpc.Metadata()
    twice.add('authorization', 'one')
    twice.add('authorization', 'two')
    const codes = new Map<string, number>()

    const unary = (
      method: string,
      cancel: (call: grpc.ClientUnaryCall) => void = () => {},
      options: grpc.CallOptions = {},
      metadata = new grpc.Metadata(),
    ): Promise<void> =>
      new Promise((resolve) => {
        const call = client.makeUnaryRequest(PATH + method, same, same, EMPTY, metadata, options, (error) => {
          const name = grpc.status[error?.code ?? grpc.status.OK] as string
          codes.set(name, (codes.get(name) ?? 0) + 1)
          resolve()
        })
        cancel(call)
      })
    const stream = (): Promise<unknown> => {
      const call = client.makeServerStreamRequest(`${PATH}DownloadDocument`, same, same, EMPTY)
      call.once('data', () => call.cancel())
      return once(call, 'error').catch(() => {})
    }

    await unary('GetDocument')
    const rounds = Array.from({ length: 10 }, () => [
      unary('GetDocument'),
      unary('ListDocuments', undefined, { deadline: Date.now() + 100 }),
      unary('SearchDocuments'),
      unary('GetDocument', (call) => call.cancel()),
      unary('GetDocument', (call) => process.nextTick(() => call.cancel())),
      unary('GetDocument', (call) => queueMicrotask(() => call.cancel())),
      unary('ListDocuments', (call) => setTimeout(() => call.cancel(), 10)),
      unary('GetDocument', (call) => setTimeout(() => call.cancel(), 10), { credentials: slow }),
      unary('GetDocument', undefined, { credentials: slow }),
      unary('GetDocument', undefined, { credentials: never }),
      unary('GetDocument', undefined, {}, twice),
      unary('GetDocument', undefined, { deadline: Date.now() - 1 }),
      stream(),
    ])
    await Promise.all(rounds.flat())
    expect([...codes.keys()].sort()).toEqual(
      expect.arrayContaining(['CANCELLED', 'DEADLINE_EXCEEDED', 'INTERNAL', 'OK']),
    )
    expect(pending()).toEqual([0])
  })
})

it('a connection attempt that is given up ends', async () => {
  const sockets: Socket[] = []
  const silence = createServer((socket) => sockets.push(socket.resume())).listen(0, '127.0.0.1')
  releases.push(() => silence.close())
  await once(silence, 'listening')
  const { client } = await target(`127.0.0.1:${(silence.address() as AddressInfo).port}`, 50)
  client.waitForReady(Date.now() + 10_000, () => {})
  await eventually(async () => expect(sockets.length).toBeGreaterThan(2))
  await eventually(async () => expect(sockets[0]?.closed).toBe(true))
})
