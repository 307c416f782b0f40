import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import {
  HealthDefinition,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import {
  Instance,
  InstanceState,
  RegisterResponse,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import {
  createClient,
  durationOf,
  grpcJsClient,
  grpcJsServer,
  implement,
  routesOf,
  rpcError,
  type ServiceDefinition,
  sendOver,
} from '@docmesh/rpc'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

const program = fileURLToPath(new URL('run-service.fixture.ts', import.meta.url))

interface Ready {
  readonly instanceId: string
  readonly address: string
  readonly adminAddress: string
}

/** A process that runs the fixture, and in order all that is known of it. */
function start(env: Record<string, string> = {}, log: string[] = [], stderr: 'pipe' | number = 'pipe') {
  const child: ChildProcess = fork(program, [], {
    env: { PATH: process.env.PATH, REGISTRY_TARGET: '127.0.0.1:1', SHUTDOWN_GRACE_MS: '60000', ...env },
    execArgv: [],
    stdio: ['ignore', 'ignore', stderr, 'ipc'],
  })
  const ready = Promise.withResolvers<Ready>()
  child.on('message', (message: { kind: string } & Ready) => {
    log.push(message.kind)
    if (message.kind === 'ready') ready.resolve(message)
  })
  const said = child.stderr ? text(child.stderr) : Promise.resolve('')
  const exit = once(child, 'exit').then(async ([code]) => {
    if (child.connected) await once(child, 'disconnect') // what it has told last is still on its way
    return { code, stderr: await said }
  })
  releases.push(() => child.exitCode ?? child.kill('SIGKILL'))
  const seen = (kind: string) => eventually(() => expect(log).toContain(kind))
  return { child, log, ready: ready.promise, exit, seen }
}

function clientOf<D extends ServiceDefinition>(definition: D, address: string) {
  const connection = grpcJsClient.connect(address)
  releases.push(() => connection.close())
  return createClient(definition, sendOver(connection))
}

interface RegistryOptions {
  readonly replaces?: boolean
  /** Then the instance is asked to drain, with this grace. */
  readonly drainGraceMs?: Promise<number>
  /** Until then the callers do not know of a drain; not set means that the registry cannot tell. */
  readonly known?: Promise<void>
  readonly listing?: Instance[]
}

/** The native API of the registry; writes what it hears into `log`. */
async function registry(
  log: string[],
  { replaces = false, drainGraceMs, known, listing = [] }: RegistryOptions = {},
) {
  const heartbeatInterval = durationOf(known ? 100 : 5_000)
  const implementation = implement(RegistryServiceDefinition, {
    ...(known && {
      async drain() {
        log.push('drain')
        await known
        return { acknowledged: true }
      },
    }),
    async *register(requests) {
      for await (const { message } of requests) {
        if (message?.$case === 'incident') continue
        if (replaces) throw rpcError('STALE_INCARNATION', 'A newer process has this id.')
        log.push(message?.value.state === InstanceState.DRAINING ? 'DRAINING' : 'SERVING')
        if (message?.$case !== 'registration') {
          yield RegisterResponse.fromPartial({ message: { $case: 'renewed', value: {} } })
          continue
        }
        yield RegisterResponse.fromPartial({ message: { $case: 'lease', value: { heartbeatInterval } } })
        if (!drainGraceMs) continue
        const command = { $case: 'drain', value: { grace: durationOf(await drainGraceMs) } } as const
        yield RegisterResponse.fromPartial({ message: { $case: 'command', value: { command } } })
      }
    },
    async *watch(_, { signal }) {
      yield { epoch: 'e1', revision: 1n, update: { $case: 'snapshot', value: { instances: listing } } }
      await once(signal, 'abort')
    },
    async deregister() {
      log.push('deregistered')
      return {}
    },
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  releases.push(() => listener.close(0))
  return listener.address
}

describe('a service', () => {
  it('serves, and on SIGTERM drains in order: a call in flight is answered, and then it leaves', async () => {
    const log: string[] = []
    const { child, ready, exit, seen } = start({ REGISTRY_TARGET: await registry(log) }, log)
    const { address, adminAddress } = await ready
    expect((await fetch(`http://${adminAddress}/readyz`)).status).toBe(200)
    await seen('SERVING')
    const health = clientOf(HealthDefinition, address).watch({})[Symbol.asyncIterator]()
    expect((await health.next()).value?.status).toBe(Serving.SERVING)
    const call = clientOf(DocumentServiceDefinition, address).getDocument(
      { documentId: 'slow' },
      { timeoutMs: 30_000 },
    )
    await seen('call begun')

    child.kill('SIGTERM')
    expect((await health.next()).value?.status).toBe(Serving.NOT_SERVING)
    log.push('NOT_SERVING')
    child.kill('SIGTERM')
    await expect(health.next()).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' })
    expect((await fetch(`http://${adminAddress}/readyz`)).status).toBe(503)
    child.send('finish')
    expect((await call).document?.id).toBe('slow')
    expect((await exit).code).toBe(0)
    expect(log.filter((entry) => entry !== 'ready' && entry !== 'SERVING')).toEqual([
      'call begun',
      'DRAINING',
      'NOT_SERVING',
      'stopping',
      'call answered',
      'deregistered',
      'second released',
      'first released',
    ])
  })

  it('is open to calls until the registry says that the callers know of the drain', async () => {
    const log: string[] = []
    const known = Promise.withResolvers<void>()
    const { child, ready, exit, seen } = start(
      { REGISTRY_TARGET: await registry(log, { known: known.promise }) },
      log,
    )
    const { address } = await ready
    // With the second heartbeat the process is sure to know that it is listed.
    await eventually(() => expect(log.filter((entry) => entry === 'SERVING').length).toBeGreaterThan(2))
    child.kill('SIGTERM')
    await seen('drain')
    const health = clientOf(HealthDefinition, address)
    expect(await health.check({})).toEqual({ status: Serving.SERVING })
    expect(log).not.toContain('stopping')
    known.resolve()
    expect((await exit).code).toBe(0)
    const said = log.filter((entry) => !['ready', 'SERVING'].includes(entry))
    expect([...new Set(said)].slice(0, 4)).toEqual(['DRAINING', 'drain', 'stopping', 'deregistered'])
  })

  it('ends when the registry asks for it, with the grace that it gives', async () => {
    const log: string[] = []
    const grace = Promise.withResolvers<number>()
    const target = await registry(log, { drainGraceMs: grace.promise, known: Promise.resolve() })
    const { ready, exit, seen } = start({ REGISTRY_TARGET: target }, log)
    const documents = clientOf(DocumentServiceDefinition, (await ready).address)
    const call = documents.getDocument({ documentId: 'never answered' }, { timeoutMs: 30_000 })
    const cut = expect(call).rejects.toMatchObject({ remote: { notSent: false } })
    await seen('call begun')
    grace.resolve(300)
    await cut
    expect((await exit).code).toBe(0)
    expect(log).toContain('deregistered')
  })

  it('keeps what it knows of the mesh in the directory that it is given', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'docmesh-service-'))
    releases.push(() => rm(directory, { recursive: true }))
    const listing = [Instance.fromPartial({ registration: { instanceId: 'i1', service: 'document' } })]
    const target = await registry([], { listing })
    const { child, ready, exit } = start({ REGISTRY_TARGET: target, MESH_SNAPSHOT_DIR: directory })
    await ready
    await eventually(async () => expect(await readdir(directory)).toEqual(['fixture.mesh']))
    child.kill('SIGTERM')
    expect((await exit).code).toBe(0)
  })

  it('does not wait for streams that wait for news, nor longer than its grace for calls', async () => {
    const { child, ready, exit, seen } = start({ SHUTDOWN_GRACE_MS: '1000' })
    const documents = clientOf(DocumentServiceDefinition, (await ready).address)
    const stream = documents.downloadDocument({})[Symbol.asyncIterator]()
    await stream.next()
    const call = documents.getDocument({ documentId: 'never answered' }, { timeoutMs: 30_000 })
    const cut = expect(call).rejects.toMatchObject({ remote: { notSent: false } })
    await seen('call begun')
    child.kill('SIGINT')
    await expect(stream.next()).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' })
    await cut
    expect((await exit).code).toBe(0)
  })

  it('ends when its parent lets go of it', async () => {
    const { child, ready, exit } = start()
    await ready
    child.disconnect()
    const { code, stderr } = await exit
    expect(code).toBe(0)
    expect(stderr).toContain('the supervisor is gone')
  })

  it('answers the calls in flight and ends with 1 after an uncaught exception', async () => {
    const { child, ready, exit, seen } = start()
    const documents = clientOf(DocumentServiceDefinition, (await ready).address)
    const call = documents.getDocument({ documentId: 'bomb' }, { timeoutMs: 30_000 })
    await seen('stopping')
    child.send('finish')
    expect((await call).document?.id).toBe('bomb')
    const { code, stderr } = await exit
    expect(code).toBe(1)
    expect(stderr).toMatch(/"level":"fatal".*bomb/)
  })

  it.runIf(existsSync('/dev/full'))('serves while there is no room for its log', async () => {
    const full = await open('/dev/full', 'w')
    releases.push(() => full.close())
    const { child, ready, exit, seen } = start({ LOG_LEVEL: 'debug' }, [], full.fd)
    const documents = clientOf(DocumentServiceDefinition, (await ready).address)
    const call = documents.getDocument({ documentId: 'logged' }, { timeoutMs: 30_000 })
    await seen('call begun')
    child.send('finish')
    expect((await call).document?.id).toBe('logged')
    child.kill('SIGTERM')
    expect((await exit).code).toBe(0)
  })

  it('ends with 1 when a newer process has taken its id', async () => {
    const log: string[] = []
    const { exit } = start({ REGISTRY_TARGET: await registry(log, { replaces: true }) }, log)
    const { code, stderr } = await exit
    expect(code).toBe(1)
    expect(stderr).toContain('replaced: A newer process has this id.')
  })
})

describe('a start that fails', () => {
  it('half-way releases what it had opened, and ends with 1', async () => {
    const { exit, log } = start({ FAILS: 'in build' })
    const { code, stderr } = await exit
    expect(code).toBe(1)
    expect(log).toEqual(['second released', 'first released'])
    expect(stderr).toMatch(/"level":"fatal".*no database/)
  })

  it('because it is stopped meanwhile ends with 0, and is nothing to worry about', async () => {
    const { child, exit, log, seen } = start({
      FAILS: 'when released',
      REGISTRY_TARGET: await registry([]),
    })
    await seen('building')
    child.kill('SIGTERM')
    const { code, stderr } = await exit
    expect(code).toBe(0)
    expect(log).toEqual(['building', 'second released', 'first released'])
    expect(stderr).not.toMatch(/"level":"(fatal|error|warn)"/)
    expect(stderr).toContain('the database was closed')
  })

  it('because it is stopped just before the end is never said to be ready', async () => {
    const { child, exit, log, seen } = start({
      FAILS: 'when stopped',
      REGISTRY_TARGET: await registry([]),
    })
    await seen('starting')
    child.kill('SIGTERM')
    const { code, stderr } = await exit
    expect(code).toBe(0)
    expect(log).toEqual(['starting', 'stopping', 'started', 'second released', 'first released'])
    expect(stderr).not.toMatch(/"level":"(fatal|error|warn)"/)
    expect(stderr).not.toContain('"msg":"ready"')
  })

  it('at the very end also leaves the mesh', async () => {
    const log: string[] = []
    const { exit } = start({ FAILS: 'in started', REGISTRY_TARGET: await registry(log) }, log)
    expect((await exit).code).toBe(1)
    expect(log).not.toContain('ready')
    expect(log.slice(-4)).toEqual(['stopping', 'deregistered', 'second released', 'first released'])
  })

  it('because of the environment lists every fault on stderr without the values, and ends with 78', async () => {
    const { exit, log } = start({ PIN: '48151623', FAILS: 'always', GRPC_LISTEN: 'nowhere' })
    const { code, stderr } = await exit
    expect(code).toBe(78)
    expect(stderr.split('\n')).toEqual([
      'fixture: The environment has faults:',
      '  GRPC_LISTEN: write host:port, for example 127.0.0.1:7400',
      '  FAILS: write one of never, in build, in started, when released, when stopped',
      '  PIN: write a whole number from 1 to 9',
      '',
    ])
    expect(log).toEqual([])
  })

  it.each(['GRPC_LISTEN', 'ADMIN_LISTEN'])(
    'because the port of %s is taken says so, and ends with 1',
    async (name) => {
      const other = createServer().listen(0, '127.0.0.1')
      await once(other, 'listening')
      releases.push(() => other.close())
      const bound = other.address()
      const taken = `127.0.0.1:${typeof bound === 'object' ? bound?.port : ''}`
      const { code, stderr } = await start({ [name]: taken }).exit
      expect(code).toBe(1)
      expect(stderr).toContain(`Cannot listen on ${taken}`)
      expect(stderr).toContain('EADDRINUSE')
    },
  )
})
