import { once } from 'node:events'
import { connect } from 'node:http2'
import { RegistryServiceDefinition, WatchRequest } from '@docmesh/contracts/registry/v1/registry'
import { createClient, grpcJsClient, grpcJsServer, implement, routesOf, sendOver } from '@docmesh/rpc'
import { createMetrics } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, expect, it } from 'vitest'
import { registryHandlers } from './handlers.ts'
import { named } from './registry.fixture.ts'
import { createRegistry } from './registry.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

const CHANGES = 10_000
const PAYLOAD = 'x'.repeat(200)

it('a client that never reads its watch has a bounded number of updates made for it; others get the newest', async () => {
  const registry = createRegistry({
    epoch: 'e1',
    leaseTtlMs: 600_000,
    suspectGraceMs: 2_000,
    monotonic: () => performance.now(),
    clock: () => new Date(),
  })
  const metrics = createMetrics({ service: 'registry', version: '1', processMetrics: false })
  const made = { silent: 0 }
  const counted: typeof registry = {
    ...registry,
    async *watch(epoch, revision, signal, options) {
      for await (const update of registry.watch(epoch, revision, signal, options)) {
        if (options?.watcherId === 'silent') made.silent++
        yield update
      }
    },
  }
  const routes = routesOf(implement(RegistryServiceDefinition, registryHandlers(counted, metrics)), [])
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  releases.push(() => listener.close(0))

  const silent = connect(`http://${listener.address}`)
  releases.push(() => silent.destroy())
  const stream = silent.request({
    ':method': 'POST',
    ':path': '/docmesh.registry.v1.RegistryService/Watch',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => {})
  const request = WatchRequest.encode(WatchRequest.fromPartial({ watcherId: 'silent' })).finish()
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(request.length, 1)
  stream.end(Buffer.concat([frame, request]))
  await once(stream, 'response') // and no 'data': what comes stays in the flow-control window
  await eventually(() => expect(made.silent).toBe(1))

  const connection = grpcJsClient.connect(listener.address)
  releases.push(() => connection.close())
  const leave = new AbortController()
  const reader = createClient(RegistryServiceDefinition, sendOver(connection)).watch(
    {},
    { signal: leave.signal },
  )
  let seen = 0n
  const reading = (async () => {
    for await (const { revision } of reader) seen = revision
  })().catch(() => {})
  releases.push(() => {
    leave.abort()
    return reading
  })

  const holder = {}
  for (let i = 0; i < CHANGES; i++) {
    registry.register(named('a', { labels: { i: String(i), PAYLOAD } }), 'serving', holder)
    if (i % 10 === 0) await new Promise(setImmediate)
  }
  await eventually(() => expect(seen).toBe(BigInt(CHANGES)))
  // A window of 64 KB holds some 230 of these updates; what is beyond it waits in no queue.
  expect(made.silent).toBeLessThan(1_000)
  expect(registry.watchers()).toBe(2)
})
