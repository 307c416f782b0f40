import { DocumentServiceDefinition, ExtractionState } from '@docmesh/contracts/document/v1/document'
import { HealthCheckResponse_ServingStatus, HealthDefinition } from '@docmesh/contracts/grpc/health/v1/health'
import { ServerReflectionDefinition } from '@docmesh/contracts/grpc/reflection/v1/reflection'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { createMetrics } from '@docmesh/telemetry'
import { createLogger } from '@docmesh/telemetry/logger'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type CallContext,
  type Client,
  Code,
  createClient,
  createHealthService,
  currentCall,
  grpcJsClient,
  grpcJsServer,
  type Handlers,
  type Implementation,
  implement,
  invalidRequest,
  type Layer,
  logLayer,
  metricsLayer,
  RpcError,
  routesOf,
  rpcError,
  type ServiceDefinition,
  sendOver,
} from './index.ts'
import { reflectionServices } from './reflection.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function serve(implementations: Implementation[], layers: Layer[] = []): Promise<string> {
  const routes = implementations.flatMap((implementation) => routesOf(implementation, layers))
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  releases.push(() => listener.close(0))
  return listener.address
}

function clientOf<D extends ServiceDefinition>(definition: D, address: string): Client<D> {
  const connection = grpcJsClient.connect(address)
  releases.push(() => connection.close())
  return createClient(definition, sendOver(connection))
}

const documents = async (handlers: Handlers<typeof DocumentServiceDefinition>, layers?: Layer[]) =>
  clientOf(DocumentServiceDefinition, await serve([implement(DocumentServiceDefinition, handlers)], layers))

const failure = async (promise: Promise<unknown>): Promise<RpcError> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`)
  return error
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  return Array.fromAsync(stream)
}

describe('the four call kinds', () => {
  it('answers a unary call with a partial message, defaults filled in', async () => {
    const client = await documents({
      getDocument: async ({ documentId }) => ({
        document: {
          id: documentId,
          currentVersion: { number: 2, extractionState: ExtractionState.EXTRACTED },
        },
      }),
    })
    const { document } = await client.getDocument({ documentId: 'd1' })
    expect(document).toMatchObject({
      id: 'd1',
      name: '',
      tags: [],
      currentVersion: { number: 2, sizeBytes: 0n },
    })
  })

  it('reads a client stream to its end before answering', async () => {
    const client = await documents({
      async uploadDocument(requests) {
        let size = 0
        for await (const { part } of requests) if (part?.$case === 'chunk') size += part.value.length
        return { document: { id: String(size) } }
      },
    })
    async function* parts() {
      yield { part: { $case: 'metadata', value: { name: 'a' } } } as const
      for (let i = 0; i < 300; i++)
        yield { part: { $case: 'chunk', value: Buffer.alloc(65_536, i) } } as const
    }
    expect((await client.uploadDocument(parts())).document?.id).toBe(String(300 * 65_536))
  })

  it('streams a response with back-pressure: an unread stream does not run ahead of its reader without bound', async () => {
    let produced = 0
    const client = await documents({
      async *downloadDocument() {
        for (; produced < 2_000; produced++) yield { part: { $case: 'chunk', value: Buffer.alloc(65_536) } }
      },
    })
    for await (const _ of client.downloadDocument({ documentId: 'x' })) break
    expect(produced).toBeLessThan(2_000)
  })

  it('carries messages both ways at once', async () => {
    const address = await serve([
      implement(RegistryServiceDefinition, {
        async *register(requests) {
          for await (const { message } of requests) {
            if (message?.$case === 'registration') {
              yield { message: { $case: 'lease', value: { revision: message.value.incarnation } } }
            }
          }
        },
      }),
    ])
    const client = clientOf(RegistryServiceDefinition, address)
    async function* requests() {
      yield { message: { $case: 'registration', value: { incarnation: 1n } } } as const
      yield { message: { $case: 'registration', value: { incarnation: 2n } } } as const
    }
    const leases = await collect(client.register(requests()))
    expect(leases.map(({ message }) => message?.$case === 'lease' && message.value.revision)).toEqual([
      1n,
      2n,
    ])
  })
})

describe('errors', () => {
  it('carries reason, fields, resource, retry time and metadata across the wire', async () => {
    const client = await documents({
      async getDocument() {
        throw rpcError('DOCUMENT_NOT_FOUND', 'No document has the id "x".', {
          resource: { type: 'document', name: 'x' },
          retryAfterMs: 1_500,
          metadata: { hint: 'list' },
          fields: [{ field: 'document_id', description: 'is unknown' }],
        })
      },
    })
    const error = await failure(client.getDocument({ documentId: 'x' }))
    expect(error).toMatchObject({
      code: Code.NOT_FOUND,
      reason: 'DOCUMENT_NOT_FOUND',
      message: 'No document has the id "x".',
      options: {
        resource: { type: 'document', name: 'x' },
        retryAfterMs: 1_500,
        metadata: { hint: 'list' },
        fields: [{ field: 'document_id', description: 'is unknown' }],
      },
      remote: { pushbackMs: 1_500, connectionFailed: false },
    })
  })

  it('tells nothing of an unexpected error', async () => {
    const client = await documents({
      async getDocument() {
        throw new Error('password=hunter2 at /srv/secret.ts:12')
      },
    })
    const error = await failure(client.getDocument({}))
    expect(error).toMatchObject({
      code: Code.INTERNAL,
      reason: 'INTERNAL',
      message: 'An internal error occurred.',
    })
  })

  it('does not relay the status of a dependency as its own', async () => {
    const inner = await documents({
      async getDocument() {
        throw rpcError('DOCUMENT_NOT_FOUND', 'inner')
      },
    })
    const outer = await documents({ getDocument: async (request) => inner.getDocument(request) })
    expect(await failure(outer.getDocument({}))).toMatchObject({ code: Code.INTERNAL })
  })

  it('answers UNIMPLEMENTED for a method of the contract that has no handler', async () => {
    const client = await documents({})
    expect(await failure(client.getDocument({}))).toMatchObject({
      code: Code.UNIMPLEMENTED,
      reason: 'METHOD_UNIMPLEMENTED',
    })
    expect(await failure(collect(client.downloadDocument({})))).toMatchObject({ code: Code.UNIMPLEMENTED })
  })

  it('answers INVALID_ARGUMENT to bytes that are not the message', async () => {
    const address = await serve([implement(DocumentServiceDefinition, { getDocument: async () => ({}) })])
    const connection = grpcJsClient.connect(address)
    releases.push(() => connection.close())
    const garbage = createClient(DocumentServiceDefinition, (call) =>
      sendOver(connection)({
        ...call,
        method: {
          ...call.method,
          request: { ...call.method.request, encode: () => Buffer.from([0x0a, 0xff, 0xff]) },
        },
      }),
    )
    expect(await failure(garbage.getDocument({}))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      reason: 'MALFORMED_MESSAGE',
    })
  })

  it.each(['getDocument', 'downloadDocument'] as const)(
    'counts and logs an answer of %s that cannot be encoded as the failure that its caller sees',
    async (key) => {
      const metrics = createMetrics({ service: 's', version: '1', processMetrics: false })
      const lines: string[] = []
      const destination = { write: (line: string) => void lines.push(line) }
      const logger = createLogger({ service: 's', version: '1', destination })
      const currentVersion = { number: 2 ** 40 } // beyond int32
      const client = await documents(
        {
          getDocument: async () => ({ document: { currentVersion } }),
          async *downloadDocument() {
            yield { part: { $case: 'metadata', value: { version: currentVersion } } }
          },
        },
        [metricsLayer(metrics, 'server'), logLayer(logger)],
      )
      const call =
        key === 'getDocument' ? client.getDocument({}) : Array.fromAsync(client.downloadDocument({}))
      expect((await failure(call as Promise<unknown>)).code).toBe(Code.INTERNAL)
      const { body } = await metrics.render()
      const codes = [...body.matchAll(/_handled_total\{[^}]*grpc_code="(\w+)"\} 1/g)].map(([, code]) => code)
      expect(codes).toEqual(['INTERNAL'])
      expect(lines).toEqual([expect.stringContaining('1099511627776')])
    },
  )

  it('fails a stream with the status thrown after its first messages', async () => {
    const client = await documents({
      async *downloadDocument() {
        yield { part: { $case: 'chunk', value: Buffer.from('a') } }
        throw invalidRequest([{ field: 'offset', description: 'is past the end' }])
      },
    })
    const seen: unknown[] = []
    const error = await failure(
      (async () => {
        for await (const message of client.downloadDocument({})) seen.push(message)
      })(),
    )
    expect(seen).toHaveLength(1)
    expect(error).toMatchObject({ code: Code.INVALID_ARGUMENT, options: { fields: [{ field: 'offset' }] } })
  })

  it.each(['José', 'a\nb', '😀'])('refuses metadata that gRPC cannot carry, as %j', async (user) => {
    const client = await documents({
      getDocument: async () => ({}),
      async *downloadDocument() {},
    })
    const metadata = { 'docmesh-user-id': user }
    for (const call of [
      client.getDocument({}, { metadata }),
      collect(client.downloadDocument({}, { metadata })),
    ]) {
      const { code, message } = await failure(call)
      expect([code, message]).toEqual([
        Code.INVALID_ARGUMENT,
        'docmesh-user-id: write printable ASCII characters',
      ])
    }
  })

  it('says that nobody answered when the connection is refused, and that the call was not sent', async () => {
    const client = clientOf(DocumentServiceDefinition, '127.0.0.1:1')
    expect(await failure(client.getDocument({}))).toMatchObject({
      code: Code.UNAVAILABLE,
      remote: { connectionFailed: true, notSent: true },
    })
  })
})

describe('deadlines and cancellation', () => {
  const hang = (context: CallContext): Promise<never> =>
    new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(context.signal.reason)))

  it('ends a call at its deadline on both sides', async () => {
    const aborted = Promise.withResolvers<void>()
    const client = await documents({
      async getDocument(_, context) {
        return hang(context).catch((error) => {
          aborted.resolve()
          throw error
        })
      },
    })
    expect(await failure(client.getDocument({}, { timeoutMs: 50 }))).toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
    })
    await aborted.promise
  })

  it('gives calls made by a handler the time that is left of its own', async () => {
    const remaining = Promise.withResolvers<number>()
    const inner = await documents({
      async getDocument(_, { deadline }) {
        remaining.resolve(deadline - Date.now())
        return {}
      },
    })
    const outer = await documents({
      getDocument: async (request) => inner.getDocument(request, { timeoutMs: 60_000 }),
    })
    await outer.getDocument({}, { timeoutMs: 2_000 })
    expect(await remaining.promise).toBeLessThanOrEqual(2_000)
  })

  it('cancels what a handler called when its own caller gives up', async () => {
    const innerAborted = Promise.withResolvers<void>()
    const innerStarted = Promise.withResolvers<void>()
    const inner = await documents({
      async getDocument(_, context) {
        innerStarted.resolve()
        return hang(context).finally(() => innerAborted.resolve())
      },
    })
    const outer = await documents({ getDocument: async (request) => inner.getDocument(request) })
    const controller = new AbortController()
    const call = failure(outer.getDocument({}, { signal: controller.signal }))
    await innerStarted.promise
    controller.abort()
    expect(await call).toMatchObject({ code: Code.CANCELLED })
    await innerAborted.promise
  })

  it('cancels the stream on the server when the reader leaves it', async () => {
    const left = Promise.withResolvers<void>()
    const client = await documents({
      async *downloadDocument(_, { signal }) {
        signal.addEventListener('abort', () => left.resolve())
        for (;;) {
          yield { part: { $case: 'chunk', value: Buffer.from('tick') } }
          await new Promise((resolve) => setImmediate(resolve))
        }
      },
    })
    for await (const _ of client.downloadDocument({})) break
    await left.promise
  })

  it('hands the identity of the caller down to the calls of its handler', async () => {
    const seen = Promise.withResolvers<CallContext | undefined>()
    const inner = await documents({
      async getDocument() {
        seen.resolve(currentCall())
        return {}
      },
    })
    const outer = await documents({ getDocument: async (request) => inner.getDocument(request) })
    await outer.getDocument(
      {},
      { metadata: { 'x-request-id': 'r-1', 'docmesh-user-id': 'ana', 'docmesh-tenant-id': 't1' } },
    )
    expect(await seen.promise).toMatchObject({ requestId: 'r-1', userId: 'ana', tenantId: 't1' })
  })
})

describe('layers', () => {
  it('runs the first layer outermost', async () => {
    const order: string[] = []
    const named =
      (name: string): Layer =>
      (next) =>
      async (call) => {
        order.push(`${name} in`)
        const answer = await next(call)
        order.push(`${name} out`)
        return answer
      }
    const client = await documents({ getDocument: async () => ({}) }, [named('a'), named('b')])
    await client.getDocument({})
    expect(order).toEqual(['a in', 'b in', 'b out', 'a out'])
  })
})

describe('health and reflection', () => {
  it('answers and streams the serving state', async () => {
    const health = createHealthService(['docmesh.document.v1.DocumentService'])
    const client = clientOf(HealthDefinition, await serve([health.implementation]))
    const watch = client.watch({ service: '' })[Symbol.asyncIterator]()
    const next = async () => (await watch.next()).value?.status
    expect(await next()).toBe(HealthCheckResponse_ServingStatus.NOT_SERVING)
    health.set(true)
    expect(await next()).toBe(HealthCheckResponse_ServingStatus.SERVING)
    expect(await client.check({ service: 'docmesh.document.v1.DocumentService' })).toEqual({
      status: HealthCheckResponse_ServingStatus.SERVING,
    })
    expect(await failure(client.check({ service: 'nobody' }))).toMatchObject({ code: Code.NOT_FOUND })
    await watch.return?.()
  })

  it('describes every service with all files it depends on', async () => {
    const address = await serve(reflectionServices([DocumentServiceDefinition.fullName]))
    const client = clientOf(ServerReflectionDefinition, address)
    async function* ask() {
      yield { messageRequest: { $case: 'listServices', value: '' } } as const
      yield {
        messageRequest: { $case: 'fileContainingSymbol', value: 'docmesh.document.v1.DocumentService' },
      } as const
      yield { messageRequest: { $case: 'fileContainingSymbol', value: 'no.such.Symbol' } } as const
    }
    const [list, file, missing] = (await collect(client.serverReflectionInfo(ask()))).map(
      (r) => r.messageResponse,
    )
    expect(list?.$case === 'listServicesResponse' && list.value.service.map(({ name }) => name)).toContain(
      DocumentServiceDefinition.fullName,
    )
    expect(file?.$case === 'fileDescriptorResponse' && file.value.fileDescriptorProto.length).toBe(2)
    expect(missing).toMatchObject({ $case: 'errorResponse', value: { errorCode: Code.NOT_FOUND } })
  })
})
