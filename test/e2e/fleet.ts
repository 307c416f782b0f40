import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { joinMesh, type Mesh } from '@docmesh/mesh'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { deleteStreams, eventually, freePort, testDatabase } from '@docmesh/testing'

const root = join(import.meta.dirname, '../..')

const SERVICES = ['registry', 'document', 'analysis', 'notification'] as const

export type ServiceName = (typeof SERVICES)[number]

/** One process of a service. */
export interface Instance {
  readonly service: ServiceName
  readonly instanceId: string
  readonly address: string
  readonly adminAddress: string
  readonly process: ChildProcess
}

/** The real services as processes of their own, over a database of their own. */
export interface Fleet extends AsyncDisposable {
  readonly mesh: Mesh
  readonly databaseUrl: string
  readonly blobDir: string
  readonly registryTarget: string
  instances(service: ServiceName): readonly Instance[]
  one(service: ServiceName): Instance
}

/** Time that a test gives a fleet to start: on a machine that has much else to do, each process takes seconds. */
export const START_MS = 180_000

export interface FleetOptions {
  /** Default: one of each. */
  readonly instances?: Partial<Record<ServiceName, number>>
  readonly env?: Readonly<Record<string, string>>
}

export async function startFleet({ instances = {}, env = {} }: FleetOptions = {}): Promise<Fleet> {
  const releases: (() => unknown)[] = []
  const database = await testDatabase()
  releases.push(() => database.close())
  const blobDir = mkdtempSync(join(tmpdir(), 'docmesh-blobs-'))
  releases.push(() => rmSync(blobDir, { recursive: true, force: true }))
  const targets = await Promise.all(
    Array.from({ length: instances.registry ?? 1 }, async () => `127.0.0.1:${await freePort()}`),
  )
  const registryTarget = targets.join(',')
  const running: Instance[] = []
  const natsUrl = process.env.TEST_NATS_URL
  const stream = `TEST_${randomUUID().slice(0, 8)}`
  if (natsUrl) releases.push(() => deleteStreams(natsUrl, [stream, `${stream}_DLQ`]))
  const common = {
    ...process.env,
    LOG_LEVEL: 'error',
    REGISTRY_TARGET: registryTarget,
    DATABASE_URL: database.url,
    BLOB_DIR: blobDir,
    DATABASE_POOL_MAX: '4',
    NATS_STREAM: stream,
    NATS_URL: natsUrl,
    ...env,
  }

  async function start(service: ServiceName, own: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = fork(join(root, 'services', service, 'src/main.ts'), { env: { ...common, ...own } })
    releases.push(() => end(child))
    running.push({ service, process: child, ...(await readiness(service, child)) })
  }

  const fleet: Omit<Fleet, 'mesh'> = {
    databaseUrl: database.url,
    blobDir,
    registryTarget,
    instances: (service) => running.filter((each) => each.service === service),
    one(service) {
      const found = running.find((each) => each.service === service)
      if (!found) throw new Error(`no ${service} in this fleet`)
      return found
    },
    async [Symbol.asyncDispose]() {
      for (const release of releases.splice(0).reverse()) await release()
    },
  }
  try {
    await Promise.all(targets.map((target) => start('registry', { GRPC_LISTEN: target })))
    const rest = (['document', 'analysis', 'notification'] as const).flatMap((service) =>
      Array.from({ length: instances[service] ?? 1 }, () => start(service)),
    )
    await Promise.all(rest)
    const metrics = createMetrics({ service: 'test', version: '0', processMetrics: false })
    const mesh = joinMesh({ registryTargets: targets, logger: silentLogger, metrics })
    releases.push(async () => {
      await mesh.close()
      metrics.stop()
    })
    // A service that is ready listens; that it is listed comes a moment later.
    await eventually(() => {
      const listed = new Set(
        SERVICES.flatMap((service) => mesh.endpoints(service)).map(({ endpoint }) => endpoint.instanceId),
      )
      if (!running.every(({ instanceId }) => listed.has(instanceId))) throw new Error('not all are listed')
    })
    return { ...fleet, mesh }
  } catch (error) {
    await fleet[Symbol.asyncDispose]()
    throw error
  }
}

interface Ready {
  readonly instanceId: string
  readonly address: string
  readonly adminAddress: string
}

async function readiness(service: string, child: ChildProcess): Promise<Ready> {
  const exited = once(child, 'exit').then(([code]) => {
    throw new Error(`${service} ended with ${code} before it was ready`)
  })
  const [ready] = (await Promise.race([once(child, 'message'), exited])) as [Ready]
  exited.catch(() => {}) // it may end later: then a test has asked for it
  return ready
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await exited
  clearTimeout(force)
}
