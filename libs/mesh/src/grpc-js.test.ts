import {
  DocumentServiceDefinition,
  GetDocumentRequest,
  GetDocumentResponse,
} from '@docmesh/contracts/document/v1/document'
import { InstanceState, Registration, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { rendezvousScore } from '@docmesh/resilience'
import {
  createHealthService,
  fromGrpcStatus,
  grpcJsServer,
  type Handlers,
  type Implementation,
  implement,
  type Layer,
  type Metadata,
  routesOf,
  rpcError,
} from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, tcpProxy } from '@docmesh/testing'
import * as grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { installMeshTarget, type MeshTargetOptions, meshView } from './grpc-js.ts'
import { joinMesh } from './mesh.ts'
import { startRegistry, startSilence } from './registry.fixture.ts'

const { DRAINING } = InstanceState

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
  arrivals.length = 0
})

/** A registry, and the target installed with it. */
async function mesh(options: Partial<MeshTargetOptions> = {}) {
  const registry = await startRegistry()
  releases.push(registry.stop)
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  releases.push(installMeshTarget({ registryTargets: [registry.address], metrics, ...options }))
  const rendered = async (name: string): Promise<string[]> =>
    (await metrics.render()).body.split('\n').filter((line) => line.startsWith(name))
  return { ...registry, rendered }
}

/** Calls as instances got them. */
const arrivals: { readonly id: string; readonly metadata: Metadata }[] = []
const noted =
  (id: string): Layer =>
  (next) =>
  (call) => {
    arrivals.push({ id, metadata: call.metadata })
    return next(call)
  }

type DocumentHandlers = Partial<Handlers<typeof DocumentServiceDefinition>>

/** An instance of the document service that answers with its own id. */
async function instance(instanceId: string, handlers: DocumentHandlers = {}, ...more: Implementation[]) {
  const documents = implement(DocumentServiceDefinition, {
    getDocument: async () => ({ document: { id: instanceId } }),
    ...handlers,
  })
  const listener = await grpcJsServer.listen(
    '127.0.0.1:0',
    [documents, ...more].flatMap((each) => routesOf(each, [noted(instanceId)])),
  )
  releases.push(() => listener.close(0))
  return registrationOf(instanceId, listener.address)
}

const registrationOf = (instanceId: string, address: string, version = '1.0.0') =>
  Registration.fromPartial({ service: 'document', instanceId, address, version, incarnation: 1n })

function dial(
  target = 'mesh:///document',
  credentials: grpc.ChannelCredentials = grpc.credentials.createInsecure(),
): grpc.Client {
  const client = new grpc.Client(target, credentials)
  releases.push(() => client.close())
  return client
}

/** Credentials of a channel that has to get a token for each call, as they may be with TLS. */
function withToken(token: () => Promise<void>): grpc.ChannelCredentials {
  const credentials = grpc.credentials.createInsecure()
  const createConnector = credentials._createSecureConnector.bind(credentials)
  const perCall = grpc.credentials.createFromMetadataGenerator((_, done) => {
    token().then(() => done(null, new grpc.Metadata()))
  })
  credentials._createSecureConnector = (...args) => {
    const connector = createConnector(...args)
    return {
      waitForReady: () => connector.waitForReady(),
      connect: (socket) => connector.connect(socket),
      getCallCredentials: () => perCall,
      destroy: () => connector.destroy(),
    }
  }
  return credentials
}

const GET = '/docmesh.document.v1.DocumentService/GetDocument'

interface Ask {
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly options?: grpc.CallOptions
  readonly onCall?: (call: grpc.ClientUnaryCall) => void
}

/** The id that the instance answers with; rejects with the status. */
const ask = (
  client: grpc.Client,
  { path = GET, headers = {}, options = {}, onCall }: Ask = {},
): Promise<string> =>
  new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      path,
      (request: GetDocumentRequest) => Buffer.from(GetDocumentRequest.encode(request).finish()),
      (bytes) => GetDocumentResponse.decode(bytes),
      GetDocumentRequest.fromPartial({}),
      metadataOf(headers),
      options,
      (error, answer) => (error ? reject(error) : resolve(answer?.document?.id ?? '')),
    )
    onCall?.(call)
  })

function metadataOf(headers: Readonly<Record<string, string>>): grpc.Metadata {
  const metadata = new grpc.Metadata()
  for (const [key, value] of Object.entries(headers)) metadata.set(key, value)
  return metadata
}

const failure = (client: grpc.Client, what?: Ask): Promise<grpc.ServiceError> =>
  ask(client, what).then(
    (id) => Promise.reject(new Error(`answered by ${id}`)),
    (error: grpc.ServiceError) => error,
  )

async function askMany(client: grpc.Client, times: number, what?: Ask): Promise<Set<string>> {
  const answers = new Set<string>()
  for (let i = 0; i < times; i++) answers.add(await ask(client, what))
  return answers
}

describe('a stock client that dials mesh:///document', () => {
  it('spreads its calls over the instances', async () => {
    const { put } = await mesh()
    for (const id of ['a', 'b', 'c']) put(await instance(id))
    const client = dial()
    await eventually(async () => expect(await askMany(client, 30)).toEqual(new Set(['a', 'b', 'c'])))
  })

  it('follows instances that come, drain and go', async () => {
    const { put, remove } = await mesh()
    const a = await instance('a')
    put(a)
    const client = dial()
    expect(await ask(client)).toBe('a')
    put(await instance('b'))
    await eventually(async () => expect(await ask(client)).toBe('b'))
    put(a, DRAINING)
    await eventually(async () => expect(await askMany(client, 10)).toEqual(new Set(['b'])))
    put(await instance('c'))
    remove('b')
    await eventually(async () => expect(await askMany(client, 10)).toEqual(new Set(['c'])))
  })

  it('shares one watch of the registry between its channels, and leaves the mesh with the last', async () => {
    const { put, watches, rendered } = await mesh()
    put(await instance('a'))
    const clients = [dial(), dial(), dial()]
    for (const client of clients) await ask(client)
    expect(watches.length).toBe(1)
    for (const client of clients) client.close()
    expect(await ask(dial())).toBe('a')
    expect(watches.length).toBe(2)
    expect(await rendered('docmesh_mesh_picks_total')).toEqual([
      'docmesh_mesh_picks_total{service="document"} 4',
    ])
  })

  it('loses no read when a connection breaks under its calls', async () => {
    const { put } = await mesh()
    const a = await instance('a', { getDocument: () => soon({ document: { id: 'a' } }) })
    const b = await instance('b', { getDocument: () => soon({ document: { id: 'b' } }) })
    const proxy = await tcpProxy(`tcp://${a.address}`)
    releases.push(() => proxy.close())
    put(registrationOf('a', `127.0.0.1:${proxy.port}`))
    put(b)
    const client = dial()
    await eventually(async () => expect(await askMany(client, 10)).toEqual(new Set(['a', 'b'])))
    const calls = Array.from({ length: 40 }, () => ask(client))
    await soon()
    proxy.cut()
    expect(new Set(await Promise.all(calls))).toContain('b')
    expect(await askMany(client, 10)).toEqual(new Set(['b']))
  })

  it('takes an instance that fails its calls out of rotation', async () => {
    const { put, rendered } = await mesh()
    for (const id of ['a', 'b']) put(await instance(id))
    put(await instance('bad', { getDocument: () => Promise.reject(new Error('broken')) }))
    const client = dial()
    await eventually(async () => {
      await Promise.allSettled(Array.from({ length: 60 }, () => ask(client)))
      expect(await rendered('docmesh_mesh_ejections_total')).not.toEqual([])
    })
    expect(await askMany(client, 20)).not.toContain('bad')
  })

  it('leaves an instance alone whose own health says so', async () => {
    const { put } = await mesh()
    const health = createHealthService([])
    health.set(true)
    put(await instance('a', {}, health.implementation))
    put(await instance('b'))
    put(await instance('c'))
    const client = dial()
    await eventually(async () => expect((await askMany(client, 20)).has('a')).toBe(true))
    health.set(false)
    await eventually(async () => expect(await askMany(client, 20)).toEqual(new Set(['b', 'c'])))
  })

  it('leaves that instance alone also when another channel that knew of it is closed', async () => {
    const { put } = await mesh()
    const health = createHealthService([])
    health.set(true)
    put(await instance('a'))
    put(await instance('b', {}, health.implementation))
    const [client, other] = [dial(), dial()]
    for (const each of [client, other])
      await eventually(async () => expect(await askMany(each, 20)).toEqual(new Set(['a', 'b'])))
    health.set(false)
    const said = (): string | undefined =>
      meshView({ service: 'document' })?.endpoints.find(({ instanceId }) => instanceId === 'b')?.state
    await eventually(() => expect(said()).toBe('unhealthy'))
    other.close()
    await eventually(() => expect(said()).toBe('unhealthy'))
    expect(await askMany(client, 20)).toEqual(new Set(['a']))
    health.set(true)
    await eventually(() => expect(said()).toBe('ready'))
  })

  it('survives a connection that breaks before its health can be asked for', async () => {
    const rejections: unknown[] = []
    const note = (reason: unknown): unknown => rejections.push(reason)
    process.on('unhandledRejection', note)
    releases.push(() => process.off('unhandledRejection', note))
    const { put } = await mesh()
    const a = await instance('a')
    const proxy = await tcpProxy(`tcp://${a.address}`)
    releases.push(() => proxy.close())
    put({ ...a, address: `127.0.0.1:${proxy.port}` })
    const asked = Promise.withResolvers<void>()
    const token = Promise.withResolvers<void>()
    const client = dial(
      'mesh:///document',
      withToken(async () => {
        asked.resolve()
        await token.promise
      }),
    )
    client.getChannel().getConnectivityState(true)
    await asked.promise
    proxy.cut()
    await eventually(() => expect(meshView()?.endpoints).toMatchObject([{ state: 'unhealthy' }]))
    token.resolve()
    proxy.restore()
    await eventually(async () => expect(await ask(client)).toBe('a'))
    expect(rejections).toEqual([])
  })

  it('gives up on an instance that takes connections and says nothing', async () => {
    const { put, rendered } = await mesh({ connectTimeoutMs: 100 })
    const silence = await startSilence()
    releases.push(silence.stop)
    put(registrationOf('silent', silence.address))
    const client = dial()
    const error = await failure(client)
    expect([error.code, error.details]).toEqual([
      grpc.status.UNAVAILABLE,
      'No connection established to any instance: no answer within 100 ms',
    ])
    expect(await rendered('docmesh_mesh_connections_discarded_total')).not.toEqual([
      'docmesh_mesh_connections_discarded_total 0',
    ])
    put(await instance('a'))
    await eventually(async () => expect(await ask(client)).toBe('a'))
  })

  it('fails at once for a service that has no instance', async () => {
    await mesh()
    const error = await failure(dial('mesh:///ghost'))
    expect([error.code, error.details]).toEqual([
      grpc.status.UNAVAILABLE,
      'No instance of ghost is in the mesh.',
    ])
    expect(fromGrpcStatus(error).reason).toBe('NO_ENDPOINT')
  })

  it('waits for an instance when the call waits for ready', async () => {
    const { put } = await mesh()
    const client = dial()
    await failure(client)
    const metadata = new grpc.Metadata({ waitForReady: true })
    const waiting = new Promise((resolve, reject) =>
      client.makeUnaryRequest(
        GET,
        (bytes: Buffer) => bytes,
        String,
        Buffer.alloc(0),
        metadata,
        (error, text) => (error ? reject(error) : resolve(text)),
      ),
    )
    put(await instance('a'))
    expect(await waiting).toContain('a')
  })
})

describe('what the contract says of a method', () => {
  it('gives unary calls a deadline', async () => {
    const { put } = await mesh({ unaryTimeoutMs: 50 })
    put(await instance('a', { getDocument: () => new Promise(() => {}) }))
    expect((await failure(dial())).code).toBe(grpc.status.DEADLINE_EXCEEDED)
  })

  it('has reads sent again, to another instance', async () => {
    const { put, rendered } = await mesh()
    put(await instance('a'))
    put(await instance('leaving', { getDocument: refusing }))
    const client = dial()
    await eventually(async () => {
      expect(await ask(client)).toBe('a')
      expect(await rendered('docmesh_mesh_retries_total')).not.toEqual([])
    })
  })

  it('is not known of a foreign service: its calls are sent once and have no deadline', async () => {
    const { put } = await mesh({ unaryTimeoutMs: 1 })
    let calls = 0
    const get = { ...DocumentServiceDefinition.methods.getDocument, name: 'Get', options: {} }
    const foreign = implement(
      { name: 'Foreign', fullName: 'acme.v1.Foreign', methods: { get } },
      {
        get: async () => {
          calls += 1
          await soon()
          return refusing()
        },
      },
    )
    put(await instance('a', {}, foreign))
    put(await instance('b', {}, foreign))
    const error = await failure(dial(), { path: '/acme.v1.Foreign/Get' })
    expect([error.code, calls]).toEqual([grpc.status.UNAVAILABLE, 1])
  })
})

describe('the traffic policy', () => {
  const versions = async (put: (registration: Registration) => void) => {
    for (const version of ['1', '2']) put({ ...(await instance(`v${version}`)), version })
  }

  it('sends calls that match a rule to its version, and the others by weight', async () => {
    const { put, putPolicy } = await mesh()
    await versions(put)
    putPolicy(
      TrafficPolicy.fromPartial({
        service: 'document',
        weights: [{ version: '1', weight: 100 }],
        rules: [{ headers: [{ name: 'x-try', match: { $case: 'exact', value: 'new' } }], version: '2' }],
      }),
    )
    const client = dial()
    await eventually(async () => expect(await askMany(client, 20)).toEqual(new Set(['v1'])))
    expect(await askMany(client, 20, { headers: { 'x-try': 'new' } })).toEqual(new Set(['v2']))
  })

  it('keeps calls with the same key on one instance', async () => {
    const { put, putPolicy } = await mesh()
    putPolicy(TrafficPolicy.fromPartial({ service: 'document', hash: { header: 'x-user' } }))
    for (const id of ['a', 'b', 'c']) put(await instance(id))
    const client = dial()
    await eventually(async () => expect(await askMany(client, 30)).toEqual(new Set(['a', 'b', 'c'])))
    for (const user of ['ann', 'bob', 'eve'])
      expect((await askMany(client, 10, { headers: { 'x-user': user } })).size).toBe(1)
  })

  it('keeps calls with a key on its instance also when this client has no connection to that yet', async () => {
    const { put, putPolicy } = await mesh({ clientId: 'c' })
    putPolicy(TrafficPolicy.fromPartial({ service: 'document', hash: { header: 'x-tenant' }, etag: 'x' }))
    const ids = Array.from({ length: 24 }, (_, at) => `i${at}`)
    for (const id of ids) put(await instance(id))
    const ownerOf = (tenant: string) =>
      ids.toSorted((a, b) => rendezvousScore(tenant, b) - rendezvousScore(tenant, a))[0] ?? ''
    const client = dial()
    const askAs = (tenant: string): Promise<string> => ask(client, { headers: { 'x-tenant': tenant } })
    await askAs('anybody')
    const isConnected = new Map(
      meshView({ service: 'document' })?.endpoints.map(({ instanceId, inUse }) => [instanceId, inUse]),
    )
    const tenants = Map.groupBy(
      Array.from({ length: 100 }, (_, at) => `tenant-${at}`),
      (tenant) => isConnected.get(ownerOf(tenant)) === true,
    )
    const [near = [], far = []] = [tenants.get(true), tenants.get(false)]
    await eventually(async () => expect(await Promise.all(near.map(askAs))).toEqual(near.map(ownerOf)))
    expect(far.length).toBeGreaterThan(0)
    expect(await Promise.all(far.map(askAs))).toEqual(far.map(ownerOf))
  })

  it('injects its faults with the code that it names', async () => {
    const { put, putPolicy } = await mesh()
    put(await instance('a'))
    const fault = { delayPercent: 100, delay: { seconds: 0n, nanos: 1e6 }, abortPercent: 100, abortCode: 5 }
    putPolicy(TrafficPolicy.fromPartial({ service: 'document', fault }))
    const error = await failure(dial())
    expect([error.code, fromGrpcStatus(error).reason]).toEqual([grpc.status.NOT_FOUND, 'FAULT_INJECTED'])
  })
})

describe('a method that is hedged', () => {
  type Step = () => Promise<unknown>

  /** Two instances that have answered enough calls for a p95; the calls after `meet` find what it says, one after the other. */
  async function warm(hedge: readonly string[] = [GET.slice(1)]) {
    const { put, rendered } = await mesh({ hedge })
    const steps: Step[] = []
    const cancelled: string[] = []
    for (const id of ['a', 'b'])
      put(
        await instance(id, {
          async getDocument(_, { signal }) {
            const step = steps.shift()
            const ended = step?.().then(() => signal.removeEventListener('abort', note))
            const note = (): unknown => cancelled.push(id)
            if (step) signal.addEventListener('abort', note)
            await ended
            return { document: { id } }
          },
        }),
      )
    const client = dial()
    await eventually(async () => {
      await failure(client, { path: '/docmesh.document.v1.DocumentService/ListDocuments' })
      expect(new Set(arrivals.map(({ id }) => id)).size).toBe(2)
    })
    await Promise.all(Array.from({ length: 30 }, () => ask(client))) // all begin before there is a p95
    function meet(...next: readonly Step[]): void {
      steps.push(...next)
      arrivals.length = 0
    }
    const hedges = async (): Promise<string[]> =>
      (await rendered('docmesh_mesh_hedges_total')).map((line) => line.replace(/.*outcome="(.*)"}/, '$1'))
    return { client, cancelled, meet, hedges }
  }

  const hangs = (): Promise<void> => new Promise(() => {})
  const answers = async (): Promise<void> => {}
  const reached = (): string[] => arrivals.map(({ id }) => id)
  const lastCodes = (limit: number) =>
    meshView({ limit })?.decisions.map(({ attempt, code }) => `${attempt} ${code}`)

  it('is sent to another instance too when it is late, and the first answer counts', async () => {
    const { client, hedges, cancelled, meet } = await warm()
    meet(hangs, answers)
    const id = await ask(client)
    expect(reached()).toEqual([id === 'a' ? 'b' : 'a', id])
    expect(arrivals.map(({ metadata }) => metadata['grpc-previous-rpc-attempts'])).toEqual([undefined, '1'])
    await eventually(() => expect(cancelled).toEqual([reached()[0]]))
    expect(await hedges()).toEqual(['won 1'])
    expect(meshView()?.endpoints.map(({ state, pending }) => [state, pending])).toEqual([
      ['ready', 0],
      ['ready', 0],
    ])
    expect(meshView({ limit: 2 })?.decisions).toMatchObject([
      { attempt: 2, reason: 'hedge', picked: id, code: 'OK' },
      { attempt: 1, picked: reached()[0], code: 'CANCELLED' },
    ])
  })

  it('cancels the copy when the first is answered', async () => {
    const { client, hedges, cancelled, meet } = await warm()
    const first = Promise.withResolvers<void>()
    meet(() => first.promise, hangs)
    const call = ask(client)
    await eventually(() => expect(arrivals).toHaveLength(2))
    first.resolve()
    expect(await call).toBe(reached()[0])
    await eventually(() => expect(cancelled).toEqual([reached()[1]]))
    await eventually(async () => expect(await hedges()).toEqual(['lost 1']))
  })

  it('waits for the other copy when one fails', async () => {
    const { client, hedges, meet } = await warm()
    const first = Promise.withResolvers<void>()
    meet(() => first.promise, refusing)
    const call = ask(client)
    await eventually(async () => expect(await hedges()).toEqual(['lost 1']))
    first.resolve()
    expect(await call).toBe(reached()[0])
    expect(reached()).toHaveLength(2)
  })

  it('does not wait when one says what the other would say too', async () => {
    const { client, meet } = await warm()
    meet(hangs, () => Promise.reject(rpcError('DOCUMENT_NOT_FOUND', 'x')))
    expect((await failure(client)).code).toBe(grpc.status.NOT_FOUND)
  })

  it('is repeated when both copies failed', async () => {
    const { client, hedges, meet } = await warm()
    const first = Promise.withResolvers<void>()
    meet(() => first.promise.then(refusing), refusing)
    const call = ask(client)
    await eventually(async () => expect(await hedges()).toEqual(['lost 1']))
    first.resolve()
    expect(['a', 'b']).toContain(await call)
    expect(lastCodes(3)).toEqual(['3 OK', '2 UNAVAILABLE', '1 UNAVAILABLE'])
  })

  it('ends with both copies at its deadline, which counts against both instances', async () => {
    const { client, cancelled, meet } = await warm()
    meet(hangs, hangs)
    const error = await failure(client, { options: { deadline: Date.now() + 1_000 } })
    expect(error.code).toBe(grpc.status.DEADLINE_EXCEEDED)
    await eventually(() => expect(cancelled.toSorted()).toEqual(['a', 'b']))
    expect(lastCodes(2)).toEqual(['2 DEADLINE_EXCEEDED', '1 DEADLINE_EXCEEDED'])
  })

  it('is sent once when nobody asked for copies', async () => {
    const { client, hedges, meet } = await warm([])
    meet(hangs)
    await failure(client, { options: { deadline: Date.now() + 1_000 } })
    expect([reached().length, await hedges()]).toEqual([1, []])
  })
})

describe('a mirror', () => {
  const policy = TrafficPolicy.fromPartial({
    service: 'document',
    weights: [{ version: '1', weight: 100 }],
    mirror: { version: '2', percent: 100 },
  })
  const copies = () => arrivals.filter(({ metadata }) => metadata['docmesh-mirrored'] === '1')

  /** One instance of each version, the second with these handlers, and a client that is connected to both. */
  async function mirrored(handlers: DocumentHandlers, first: DocumentHandlers = {}) {
    const { put, putPolicy, rendered } = await mesh()
    let isMirrored = false
    const getDocument: DocumentHandlers['getDocument'] = async (request, context) =>
      isMirrored && handlers.getDocument ? handlers.getDocument(request, context) : { document: { id: 'v2' } }
    put({ ...(await instance('v1', first)), version: '1' })
    put({ ...(await instance('v2', { ...handlers, getDocument })), version: '2' })
    const client = dial()
    await eventually(async () => expect(await askMany(client, 20)).toEqual(new Set(['v1', 'v2'])))
    putPolicy(policy)
    await eventually(async () => {
      await ask(client)
      expect(copies().length).toBeGreaterThan(0)
    })
    isMirrored = true
    arrivals.length = 0
    const counted = async (): Promise<number> =>
      Number((await rendered('docmesh_mesh_mirrored_total'))[0]?.split(' ')[1])
    return { client, counted }
  }

  it('gets a copy that says so, with the credentials of the call and a deadline of its own', async () => {
    const asked: string[] = []
    const { client } = await mirrored({
      async getDocument({ documentId }, { deadline }) {
        asked.push(`${documentId} ${deadline > Date.now() + 2_000}`)
        return {}
      },
    })
    const token = new grpc.Metadata()
    token.set('authorization', 'Bearer x')
    const credentials = grpc.credentials.createFromMetadataGenerator((_, done) => done(null, token))
    expect(await ask(client, { options: { credentials, deadline: Date.now() + 1_000 } })).toBe('v1')
    await eventually(() => expect(asked).toEqual([' true']))
    expect(copies().map(({ id, metadata }) => [id, metadata.authorization])).toEqual([['v2', 'Bearer x']])
    expect(arrivals).toHaveLength(2)
  })

  it('whose copies fail is nobody’s trouble', async () => {
    const broken = await mirrored({ getDocument: () => Promise.reject(new Error('broken')) })
    expect(await askMany(broken.client, 60)).toEqual(new Set(['v1']))
    expect(meshView()?.breakers.map(({ state }) => state)).toEqual(['CLOSED'])
  })

  it('that hangs holds 16 copies, which end with the channel and not by their deadline', async () => {
    const leftMs: number[] = []
    const { client, counted } = await mirrored({
      getDocument: (_, { signal, deadline }) => {
        signal.addEventListener('abort', () => leftMs.push(deadline - Date.now()))
        return new Promise(() => {})
      },
    })
    const before = await counted()
    expect(await askMany(client, 40)).toEqual(new Set(['v1']))
    expect([copies().length, (await counted()) - before]).toEqual([16, 16])
    client.close()
    await eventually(() => expect(leftMs).toHaveLength(16))
    expect(Math.min(...leftMs)).toBeGreaterThan(0)
  })

  it('gets one copy of a call that is sent twice', async () => {
    let refusals = 0
    const { client } = await mirrored(
      {},
      { getDocument: async () => (refusals-- > 0 ? refusing() : { document: { id: 'v1' } }) },
    )
    refusals = 1
    expect(await ask(client)).toBe('v2')
    await eventually(() => expect(arrivals).toHaveLength(3))
    expect(copies()).toHaveLength(1)
  })

  it('gets no copy of what must not be done twice', async () => {
    const { client } = await mirrored({})
    await failure(client, { path: '/docmesh.document.v1.DocumentService/UploadDocument' })
    await failure(client, { path: '/acme.v1.Orders/Place' })
    expect(copies()).toEqual([])
  })
})

describe('the view of the mesh', () => {
  it('tells of recent calls, of instances and of what happened to them, for one service or all', async () => {
    const { put, remove } = await mesh()
    expect(meshView()).toBeUndefined()
    const finish = Promise.withResolvers<void>()
    const slow = (id: string) =>
      instance(id, { getDocument: () => finish.promise.then(() => ({ document: { id } })) })
    const proxy = await tcpProxy(`tcp://${(await slow('bad')).address}`)
    releases.push(() => proxy.close())
    put(registrationOf('bad', `127.0.0.1:${proxy.port}`))
    for (const id of ['a', 'b']) put(await slow(id))
    const client = dial()
    const calls: Promise<string>[] = []
    await eventually(() => {
      calls.push(ask(client))
      expect(arrivals.filter(({ id }) => id === 'bad').length).toBeGreaterThan(5)
    })
    proxy.cut()
    await eventually(() => expect(meshView()?.incidents).not.toEqual([]))
    finish.resolve()
    await Promise.all(calls)
    expect(meshView({ service: 'document' })?.incidents.at(-1)).toMatchObject({
      kind: 'endpoint_ejected',
      service: 'document',
      instanceId: 'bad',
      reason: 'consecutive_failures',
    })
    expect(meshView({ service: 'other' })).toMatchObject({ endpoints: [], decisions: [], incidents: [] })
    remove('bad')
    await eventually(() => expect(meshView()?.endpoints.map((each) => each.instanceId)).toEqual(['a', 'b']))
    const id = await ask(client)
    expect(meshView({ limit: 1 })?.decisions).toMatchObject([
      {
        service: 'document',
        method: GET.slice(1),
        attempt: 1,
        reason: 'least_cost',
        picked: id,
        lost: id === 'a' ? 'b' : 'a',
        code: 'OK',
        duration: { seconds: 0n },
      },
    ])
    expect(() => meshView({ limit: 1_001 })).toThrow('limit')
  })

  it('is what the mesh of a docmesh service shows, when the target is installed with that', async () => {
    const registry = await startRegistry()
    releases.push(registry.stop)
    const own = joinMesh({
      registryTargets: [registry.address],
      logger: silentLogger,
      metrics: createMetrics({ service: 'test', version: '1', processMetrics: false }),
    })
    releases.push(() => own.close())
    releases.push(installMeshTarget({ mesh: own }))
    registry.put(await instance('a'))
    const client = dial()
    await eventually(async () => expect(await ask(client)).toBe('a'))
    expect(own.decisions('document', 1)).toMatchObject([{ picked: 'a', code: 'OK' }])
    expect(registry.watches).toHaveLength(1)
    client.close()
    expect(own.endpoints('document')).toHaveLength(1)
  })
})

describe('metadata that is too large', () => {
  it.each([17_000, 300_000, 1_000_000])(
    'of %d bytes is refused before it is sent, and breaks no other call',
    async (bytes) => {
      const { put } = await mesh()
      const finish = Promise.withResolvers<void>()
      put(await instance('a', { getDocument: () => finish.promise.then(() => ({ document: { id: 'a' } })) }))
      const client = dial()
      const other = ask(client)
      const error = await failure(client, { headers: { 'x-note': 'x'.repeat(bytes) } })
      expect([error.code, fromGrpcStatus(error).reason]).toEqual([
        grpc.status.RESOURCE_EXHAUSTED,
        'METADATA_TOO_LARGE',
      ])
      finish.resolve()
      expect(await other).toBe('a')
      expect(arrivals).toHaveLength(1)
    },
  )
})

describe('the circuit breaker', () => {
  it('answers in place of a service that fails, and says when to try again', async () => {
    const { put } = await mesh()
    put(await instance('a', { getDocument: () => Promise.reject(new Error('broken')) }))
    const client = dial()
    await eventually(async () => expect(fromGrpcStatus(await failure(client)).reason).toBe('CIRCUIT_OPEN'))
    const error = await failure(client)
    expect(error.code).toBe(grpc.status.UNAVAILABLE)
    expect(fromGrpcStatus(error).options.retryAfterMs).toBeGreaterThan(0)
  })
})

describe('the target', () => {
  it('is installed once, and can be taken away', async () => {
    await mesh()
    expect(() => installMeshTarget({ registryTargets: ['127.0.0.1:1'] })).toThrow('installed already')
    releases.pop()?.()
    expect((await failure(dial())).details).toBe('The mesh target is not installed.')
  })

  it('refuses a name that no service can have', async () => {
    await mesh()
    expect(() => dial('mesh:///Document:50051')).toThrow('names no service')
  })

  it.each([
    { unaryTimeoutMs: 0 },
    { connectTimeoutMs: 99 },
    { hedge: ['docmesh.document.v1.DocumentService/UploadDocument'] },
  ])('refuses %o', (option) => {
    expect(() => installMeshTarget({ registryTargets: ['127.0.0.1:1'], ...option })).toThrow(RangeError)
  })
})

const soon = <T>(value?: T): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(value as T), 5))

const refusing = (): Promise<never> => Promise.reject(rpcError('SHUTTING_DOWN', 'This instance is ending.'))
