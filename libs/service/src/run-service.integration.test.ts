import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import {
  HealthDefinition,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { InstanceState, RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import {
  createClient,
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
function start(env: Record<string, string> = {}, log: string[] = []) {
  const child: ChildProcess = fork(program, [], {
    env: { PATH: process.env.PATH, REGISTRY_TARGET: '127.0.0.1:1', SHUTDOWN_GRACE_MS: '60000', ...env },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const ready = Promise.withResolvers<Ready>()
  child.on('message', (message: { kind: string } & Ready) => {
    log.push(message.kind)
    if (message.kind === 'ready') ready.resolve(message)
  })
  const stderr = child.stderr ? text(child.stderr) : Promise.resolve('')
  const exit = once(child, 'exit').then(async ([code]) => {
    if (child.connected) await once(child, 'disconnect') // what it has told last is still on its way
    return { code, stderr: await stderr }
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

/** The native API of the registry; writes what it hears into `log`. */
async function registry(log: string[], { replaces = false } = {}) {
  const implementation = implement(RegistryServiceDefinition, {
    async *register(requests) {
      for await (const { message } of requests) {
        if (replaces) throw rpcError('STALE_INCARNATION', 'A newer process has this id.')
        log.push(message?.value.state === InstanceState.DRAINING ? 'DRAINING' : 'SERVING')
        if (message?.$case === 'registration') yield { message: { $case: 'lease', value: {} } }
        else yield { message: { $case: 'renewed', value: {} } }
      }
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

  it('does not wait for streams that wait for news, nor longer than its grace for calls', async () => {
    const { child, ready, exit, seen } = start({ SHUTDOWN_GRACE_MS: '300' })
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
      '  FAILS: write one of never, in build, in started',
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
