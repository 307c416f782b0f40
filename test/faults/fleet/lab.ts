import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { joinMesh, type Mesh } from '@docmesh/mesh'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, freePort } from '@docmesh/testing'
import { startMailServer } from '../../../services/notification/src/mail-server.fixture.ts'
import type { ServiceName } from '../../e2e/fleet.ts'
import { mountDisk } from './disk.ts'
import { type Door, startDoor } from './door.ts'
import { type Server, startNats, startPostgres, startRedis } from './servers.ts'
import { type Supervised, supervise } from './supervised.ts'
import { createWork, type Work } from './work.ts'

export const SERVICES = ['registry', 'document', 'analysis', 'notification'] as const satisfies ServiceName[]

/** For which contents may lie without a document. */
const ORPHAN_AGE_MS = 2_000

export interface LabOptions {
  /** Of each service. Default 2. */
  readonly instances?: number
  /** Puts the blobs on a file system of this size, which can be filled. Default: with everything else. */
  readonly blobDiskMiB?: number
  /** For every service. */
  readonly env?: Readonly<Record<string, string>>
}

/** The whole of docmesh as processes of its own, over servers of its own, one caller and one mailbox. */
export interface Lab extends AsyncDisposable {
  readonly mesh: Mesh
  readonly work: Work
  readonly services: Readonly<Record<ServiceName, readonly Supervised[]>>
  readonly postgres: Server
  readonly nats: Server
  readonly redis: Server
  readonly registryTargets: readonly string[]
  /** Where the instances of a service tell their metrics, `host:port`. */
  adminAddresses(service: ServiceName): readonly string[]
  /** Between the services and the mailbox. */
  readonly mailDoor: Door
  /** Connection of the lab; the services have their own. */
  readonly db: Postgres
  readonly blobDir: string
  /** Message-ID of every email that the services sent, in the order of arrival. */
  mails(): readonly string[]
  /** Resolves when every instance of this service takes calls. */
  whole(service: ServiceName): Promise<void>
}

/** @throws NotPossible when this machine has no such server or refuses the disk. */
export async function startLab({ instances = 2, blobDiskMiB, env = {} }: LabOptions = {}): Promise<Lab> {
  const stack = new AsyncDisposableStack()
  try {
    const folder = mkdtempSync(join(tmpdir(), 'docmesh-fleet-'))
    stack.defer(() => rmSync(folder, { recursive: true, force: true }))
    chmodSync(folder, 0o711) // where the user that PostgreSQL runs as can enter
    const ports = await distinctPorts(3 + 2 * SERVICES.length * instances)
    const port = (): number => ports.pop() as number

    const postgres = adopt(stack, await startPostgres(folder, port()))
    const nats = adopt(stack, await startNats(folder, port()))
    const redis = adopt(stack, await startRedis(folder, port()))
    const mailbox = stack.use(await startMailServer())
    const mailDoor = stack.use(await startDoor(mailbox.url))
    const blobDir = join(folder, 'blobs')
    const scratch = join(folder, 'tmp') // what killed processes leave goes with the lab
    for (const each of [blobDir, scratch]) mkdirSync(each)
    if (blobDiskMiB !== undefined) stack.use(await mountDisk(blobDir, blobDiskMiB))

    const instanceEnvs = SERVICES.flatMap((service) =>
      Array.from({ length: instances }, () => ({
        service,
        own: { GRPC_LISTEN: `127.0.0.1:${port()}`, ADMIN_LISTEN: `127.0.0.1:${port()}` },
      })),
    )
    const registryTargets = instanceEnvs
      .filter(({ service }) => service === 'registry')
      .map(({ own }) => own.GRPC_LISTEN)
    const common = {
      REGISTRY_TARGET: registryTargets.join(','),
      DATABASE_URL: postgres.url,
      DATABASE_POOL_MAX: '5',
      NATS_URL: nats.url,
      NATS_STREAM: 'DOCMESH',
      REDIS_URL: redis.url,
      BLOB_DIR: blobDir,
      BLOB_ORPHAN_AGE_MS: `${ORPHAN_AGE_MS}`,
      TMPDIR: scratch,
      SMTP_URL: mailDoor.url,
      NOTIFICATION_DEFAULT_EMAIL: 'team@example.com',
      NOTIFICATION_OPERATORS: 'operator',
      SHUTDOWN_GRACE_MS: '10000',
      ...env,
    }
    const services: Record<ServiceName, Supervised[]> = {
      registry: [],
      document: [],
      analysis: [],
      notification: [],
    }
    const { registry, ...others } = services
    stack.defer(() => stopAll(registry))
    stack.defer(() => stopAll(Object.values(others).flat()))
    const start = async ({ service, own }: (typeof instanceEnvs)[number]): Promise<void> => {
      const script = new URL(`../../../services/${service}/src/main.ts`, import.meta.url)
      services[service].push(await supervise(script, { ...common, ...own }))
    }
    const isRegistry = ({ service }: { service: ServiceName }): boolean => service === 'registry'
    await settleAll(instanceEnvs.filter(isRegistry).map(start))
    await settleAll(instanceEnvs.filter((each) => !isRegistry(each)).map(start))

    const metrics = createMetrics({ service: 'faults', version: '0', processMetrics: false })
    stack.defer(() => metrics.stop())
    const mesh = joinMesh({ registryTargets, logger: silentLogger, metrics })
    stack.defer(() => mesh.close())
    await eventually(
      () => {
        for (const service of SERVICES)
          if (mesh.endpoints(service).length < instances) throw new Error(`not every ${service} is listed`)
      },
      { timeoutMs: 30_000 },
    )
    const db = stack.use(await openPostgres({ url: postgres.url, schema: 'public', poolMax: 2 }))
    const whole: Lab['whole'] = async (service) => {
      await Promise.all(services[service].map((each) => each.ready()))
    }
    const release = stack.move()
    releaseWhenAsked(release)
    return {
      mesh,
      work: createWork(mesh),
      services,
      postgres,
      nats,
      redis,
      registryTargets,
      adminAddresses: (wanted) =>
        instanceEnvs.filter(({ service }) => service === wanted).map(({ own }) => own.ADMIN_LISTEN),
      mailDoor,
      db,
      blobDir,
      mails: () => mailbox.mails.map(({ headers }) => headers.get('message-id') ?? ''),
      whole,
      [Symbol.asyncDispose]: () => release.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

/** Whoever stops the run early leaves no servers behind. */
function releaseWhenAsked(release: AsyncDisposableStack): void {
  const stop = (): void => void release.disposeAsync().finally(() => process.exit(1))
  process.once('SIGINT', stop).once('SIGTERM', stop)
  release.defer(() => void process.off('SIGINT', stop).off('SIGTERM', stop))
}

function adopt(stack: AsyncDisposableStack, server: Server): Server {
  stack.defer(() => server.stop())
  return server
}

async function stopAll(services: readonly Supervised[]): Promise<void> {
  await Promise.all(services.map((each) => each.stop()))
}

/** Waits for all before it throws: what began late is to be stopped as well. */
async function settleAll(starts: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(starts)).find(({ status }) => status === 'rejected')
  if (failed) throw (failed as PromiseRejectedResult).reason
}

async function distinctPorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}
