import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { InstanceState, Registration } from '@docmesh/contracts/registry/v1/registry'
import { type ClientTransport, Code, grpcJsClient, grpcJsServer, implement, routesOf } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, tcpProxy } from '@docmesh/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { joinMesh } from './mesh.ts'
import { startRegistry, startSilence } from './registry.fixture.ts'

const { SERVING, DRAINING } = InstanceState

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function registry(options?: Parameters<typeof startRegistry>[0]) {
  const started = await startRegistry(options)
  releases.push(started.stop)
  return started
}

function mesh(
  registryTargets: readonly string[],
  transport: ClientTransport = grpcJsClient,
  snapshotPath?: string,
) {
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const joined = joinMesh({ registryTargets, logger: silentLogger, metrics, transport, snapshotPath })
  releases.push(() => joined.close())
  return joined
}

const describing = (instanceId: string, address: string) =>
  Registration.fromPartial({ service: 'document', instanceId, address, incarnation: 1n, state: SERVING })

/** A server of DocumentService that answers with its own name. */
async function documents(id: string) {
  const implementation = implement(DocumentServiceDefinition, {
    getDocument: async () => ({ document: { id } }),
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  releases.push(() => listener.close(0))
  return listener
}

async function silentServer(): Promise<string> {
  const started = await startSilence()
  releases.push(started.stop)
  return started.address
}

describe('a client of the mesh', () => {
  const asked = async (client: {
    getDocument(request: object): Promise<{ document?: { id: string } | undefined }>
  }) => (await client.getDocument({})).document?.id

  it('calls what the registry lists, and follows it', async () => {
    const { address, put } = await registry()
    const [first, second] = [await documents('first'), await documents('second')]
    put(describing('i1', first.address))
    const client = mesh([address]).client(DocumentServiceDefinition, 'document')
    expect(await asked(client)).toBe('first')
    put(describing('i1', first.address), DRAINING)
    put(describing('i2', second.address))
    await eventually(async () => expect(await asked(client)).toBe('second'))
    expect(await Promise.all(Array.from({ length: 10 }, () => asked(client)))).toEqual(
      Array(10).fill('second'),
    )
  })

  it('goes on calling while the registry is down, and resumes its watch where it was', async () => {
    const { address, put, watches } = await registry()
    const proxy = await tcpProxy(`tcp://${address}`)
    releases.push(() => proxy.close())
    put(describing('i1', (await documents('first')).address))
    const joined = mesh([`127.0.0.1:${proxy.port}`])
    const client = joined.client(DocumentServiceDefinition, 'document')
    expect(await asked(client)).toBe('first')
    proxy.cut()
    for (let i = 0; i < 20; i++) expect(await asked(client)).toBe('first')
    put(describing('i2', 'nowhere.test:1'))
    proxy.restore()
    await eventually(() => expect(joined.endpoints('document')).toHaveLength(2))
    expect(watches).toMatchObject([
      { epoch: '', fromRevision: 0n },
      { epoch: 'e1', fromRevision: 1n },
    ])
  })

  it('closes the connections to instances that have left, once', async () => {
    const { address, put, remove } = await registry()
    const { address: instance } = await documents('first')
    const closed: string[] = []
    const transport: ClientTransport = {
      connect(target) {
        const connection = grpcJsClient.connect(target)
        const close = (): void => {
          closed.push(target)
          connection.close()
        }
        return { ...connection, close }
      },
    }
    put(describing('i1', instance))
    const joined = mesh([address], transport)
    await asked(joined.client(DocumentServiceDefinition, 'document'))
    put(describing('i2', 'nowhere.test:1'))
    await eventually(() => expect(joined.endpoints('document')).toHaveLength(2))
    expect(closed).toEqual([])
    remove('i1')
    await eventually(() => expect(closed).toEqual([instance]))
  })

  it('lets a call in flight finish when its instance leaves the mesh', async () => {
    const { address, put, remove } = await registry()
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
    releases.push(() => listener.close(0))
    put(describing('i1', listener.address))
    const joined = mesh([address])
    const call = asked(joined.client(DocumentServiceDefinition, 'document'))
    await begun.promise
    remove('i1')
    await eventually(() => expect(joined.endpoints('document')).toEqual([]))
    finish.resolve()
    expect(await call).toBe('late')
  })

  it('takes another replica when one does not answer', async () => {
    const { address, put } = await registry()
    put(describing('i1', 'nowhere.test:1'))
    const joined = mesh(['127.0.0.1:1', address])
    await joined.synced
    expect(joined.endpoints('document')).toHaveLength(1)
  })

  it.each(['a registry that is down', 'a registry that is silent'])(
    'closes at once with %s',
    async (which) => {
      const target = which.endsWith('down') ? '127.0.0.1:1' : await silentServer()
      const joined = mesh([target])
      const begun = performance.now()
      await joined.close()
      expect(performance.now() - begun).toBeLessThan(500)
    },
  )

  describe('that is closed', () => {
    /** Connections that nobody has closed. */
    function countingTransport() {
      const open = new Set<object>()
      const transport: ClientTransport = {
        connect(target) {
          const connection = grpcJsClient.connect(target)
          const counted = {
            ...connection,
            close() {
              open.delete(counted)
              connection.close()
            },
          }
          open.add(counted)
          return counted
        },
      }
      return { open, transport }
    }

    it('opens no connection for a call that comes later, nor to listen', async () => {
      const { address, put } = await registry()
      put(describing('i1', (await documents('first')).address))
      const { open, transport } = countingTransport()
      const joined = mesh([address], transport)
      const client = joined.client(DocumentServiceDefinition, 'document')
      expect(await asked(client)).toBe('first')
      await joined.close()
      await expect(asked(client)).rejects.toMatchObject({ code: Code.UNAVAILABLE })
      joined.client(DocumentServiceDefinition, 'document')
      expect(open.size).toBe(0)
    })

    it('while it still reads its file listens to nobody who is in that', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'docmesh-mesh-'))
      releases.push(() => rm(directory, { recursive: true }))
      const snapshotPath = join(directory, 'test.mesh')
      const { address, put } = await registry()
      put(describing('i1', '127.0.0.1:1'))
      const first = mesh([address], grpcJsClient, snapshotPath)
      await first.synced
      await first.close()
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      releases.push(() => vi.useRealTimers())
      const { open, transport } = countingTransport()
      const second = mesh(['127.0.0.1:1'], transport, snapshotPath)
      second.client(DocumentServiceDefinition, 'document')
      await second.close()
      await vi.advanceTimersByTimeAsync(10_000)
      expect(open.size).toBe(0)
    })
  })
})
