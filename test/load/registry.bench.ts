// The registry under many watchers: `npm run bench:registry`. Ends in one line of JSON.
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { InstanceState, RegisterRequest } from '@docmesh/contracts/registry/v1/registry'
import * as grpc from '@grpc/grpc-js'

const { values } = parseArgs({
  options: {
    watchers: { type: 'string', default: '1000' },
    connections: { type: 'string', default: '50' },
    registrations: { type: 'string', default: '200' },
    'pause-ms': { type: 'string', default: '100' },
    burst: { type: 'string', default: '1000' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    'npm run bench:registry -- [--watchers 1000] [--connections 50] [--registrations 200] [--pause-ms 100] [--burst 1000]\n',
  )
  process.exit(0)
}

const SERVICE = '/docmesh.registry.v1.RegistryService'
const bytes = (value: Buffer): Buffer => value
const connect = (address: string): grpc.Client =>
  new grpc.Client(address, grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })

/** It says that it lives where the registry does: a health check of it finds a server. */
const registration = (instanceId: string, address: string): Buffer =>
  Buffer.from(
    RegisterRequest.encode(
      RegisterRequest.fromPartial({
        message: {
          $case: 'registration',
          value: {
            service: `bench-${instanceId.charCodeAt(0) % 10}`,
            instanceId,
            incarnation: 1n,
            address,
            version: '1.0.0',
            state: InstanceState.SERVING,
          },
        },
      }),
    ).finish(),
  )

/** Opens a lease; resolves with the milliseconds until it was granted. */
function register(client: grpc.Client, instanceId: string, address: string): Promise<number> {
  const begun = performance.now()
  const call = client.makeBidiStreamRequest(`${SERVICE}/Register`, bytes, bytes)
  open.push(call)
  return new Promise((resolve, reject) => {
    call.once('data', () => resolve(performance.now() - begun))
    call.on('error', reject)
    call.write(registration(instanceId, address))
  })
}

const open: { cancel(): void }[] = []
const quantile = (sorted: readonly number[], q: number): number =>
  Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(2))
const ascending = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b)

const registry = fork(new URL('../../services/registry/src/main.ts', import.meta.url), {
  env: {
    ...process.env,
    LOG_LEVEL: 'error',
    GRPC_LISTEN: '127.0.0.1:0',
    REGISTRY_TARGET: '127.0.0.1:1',
  },
})
try {
  const [{ address }] = (await once(registry, 'message')) as [{ address: string }]
  const watcherCount = Number(values.watchers)
  const connections = Array.from({ length: Number(values.connections) }, () => connect(address))
  /** The instance that is waited for, when each watcher heard of it first, and how many have. */
  const waitFor = (instanceId: string) => ({
    instanceId,
    heardAt: new Float64Array(watcherCount),
    count: 0,
    all: Promise.withResolvers<void>(),
  })
  let awaited = waitFor('')
  for (let index = 0; index < watcherCount; index++) {
    const client = connections[index % connections.length] as grpc.Client
    const call = client.makeServerStreamRequest(`${SERVICE}/Watch`, bytes, bytes, Buffer.alloc(0))
    open.push(call)
    call.on('error', () => {})
    call.on('data', (update: Buffer) => {
      const { instanceId, heardAt, all } = awaited
      if (heardAt[index] || !update.includes(instanceId)) return
      heardAt[index] = performance.now()
      if (++awaited.count === watcherCount) all.resolve()
    })
  }
  await awaited.all.promise
  process.stderr.write(`${watcherCount} watchers have the snapshot\n`)

  const registrar = connect(address)
  const visible: number[] = []
  const complete: number[] = []
  for (let number = 0; number < Number(values.registrations); number++) {
    awaited = waitFor(randomUUID())
    const { instanceId, heardAt, all } = awaited
    const begun = performance.now()
    await register(registrar, instanceId, address)
    await all.promise
    const delays = Array.from(heardAt, (at) => at - begun)
    visible.push(...delays)
    complete.push(Math.max(...delays))
    await delay(Number(values['pause-ms'])) // what its first health check finds is pushed to all as well
  }

  for (const call of open.splice(0)) call.cancel()
  const burst = Number(values.burst)
  const begun = performance.now()
  const granted = await Promise.all(
    Array.from({ length: burst }, (_, index) =>
      register(connections[index % connections.length] as grpc.Client, randomUUID(), address),
    ),
  )
  const seconds = (performance.now() - begun) / 1_000
  const sorted = ascending(visible)
  const line = {
    bench: 'registry',
    watchers: watcherCount,
    registrations: complete.length,
    visible_p50_ms: quantile(sorted, 0.5),
    visible_p99_ms: quantile(sorted, 0.99),
    visible_at_all_p50_ms: quantile(ascending(complete), 0.5),
    registrations_per_second: Math.round(burst / seconds),
    granted_p99_ms: quantile(ascending(granted), 0.99),
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
} finally {
  for (const call of open) call.cancel()
  registry.kill()
}
process.exit(0)
