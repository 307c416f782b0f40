import { mkdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { childEnv } from './child-env.ts'
import { claimDataDir, type MeshState, REPO_ROOT } from './data-dir.ts'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'
import { type LocalHealingOptions, startHealing } from './healing/healing.ts'
import { MEMORY_ARGS } from './healing/memory.ts'
import { type KeptPostgres, keepPostgres } from './healing/postgres.ts'
import { type Io, unlessAborted } from './io.ts'
import { hostAndPort } from './parse.ts'
import type { ProcessSpec, SupervisedProcess } from './supervised-process.ts'
import { createSupervisor, type Supervisor } from './supervisor.ts'

/** Processes of each service. */
export type Instances = Readonly<Record<'document' | 'analysis' | 'notification', number>>

export interface LocalMeshOptions {
  readonly dataDir: string
  /** `host:port` that the registry listens on. */
  readonly registry: string
  readonly instances: Instances
  /** False keeps the mesh for this process alone. */
  readonly shared: boolean
  readonly verbose: boolean
  /** Not set: what fails otherwise than by ending is left alone. */
  readonly healing?: LocalHealingOptions | undefined
  readonly onChange?: (process: SupervisedProcess) => void
}

export interface LocalMesh {
  readonly registry: string
  /** Resolves with the first process that gives up. */
  readonly gaveUp: Promise<SupervisedProcess>
  processes(): readonly SupervisedProcess[]
  stop(): Promise<void>
}

export type Started =
  | { readonly kind: 'started'; readonly mesh: LocalMesh }
  /** Another process runs a mesh on this data folder. */
  | { readonly kind: 'held'; readonly holder: MeshState }

const CONNECT_TIMEOUT_MS = 1_000

/** Starts PostgreSQL (unless DATABASE_URL names one), the registry and then the services, each a process of its own. */
export async function startLocalMesh(options: LocalMeshOptions, io: Io): Promise<Started> {
  const { dataDir, registry, shared, verbose, onChange } = options
  const claim = claimDataDir(dataDir, registry)
  if (claim.kind === 'held') return claim
  const supervisor = createSupervisor({
    ...(onChange && { onChange }),
    echo: verbose ? io.stderr : undefined,
  })
  io.onInsist(() => supervisor.kill())
  let postgres: KeptPostgres | undefined
  let healing: { stop(): Promise<void> } | undefined
  const stop = async (): Promise<void> => {
    await healing?.stop()
    await supervisor.stop()
    await postgres?.stop()
    claim.release()
  }
  try {
    await refuseTakenPort(registry)
    if (!io.env.DATABASE_URL) postgres = await keepPostgres(join(dataDir, 'postgres'))
    io.signal.throwIfAborted()
    const specOf = specsFor(options, io, postgres)
    await unlessAborted(startServices(supervisor, options, specOf), io.signal)
    const databaseUrl = postgres?.url ?? io.env.DATABASE_URL
    if (options.healing && databaseUrl) {
      const deps = { supervisor, postgres, databaseUrl, registry, dataDir, specOf }
      healing = await startHealing(options.healing, deps)
    }
    if (shared) claim.open()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    kind: 'started',
    mesh: { registry, gaveUp: supervisor.gaveUp, processes: supervisor.processes, stop },
  }
}

type SpecOf = (service: string, name: string) => ProcessSpec

function specsFor(
  { dataDir, registry }: LocalMeshOptions,
  { env }: Io,
  postgres: KeptPostgres | undefined,
): SpecOf {
  const logs = join(dataDir, 'logs')
  mkdirSync(logs, { recursive: true })
  const given = { user: env, registry, databaseUrl: postgres?.url, dataDir }
  const execArgv = ['--import', import.meta.resolve('@docmesh/telemetry/register'), ...MEMORY_ARGS]
  return (service, name) => ({
    name,
    service,
    script: join(REPO_ROOT, 'services', service, 'src', 'main.ts'),
    execArgv,
    env: childEnv(service, given),
    logFile: join(logs, `${service}.log`),
  })
}

async function startServices(
  supervisor: Supervisor,
  { instances }: LocalMeshOptions,
  specOf: SpecOf,
): Promise<void> {
  const specs = (service: string, count: number): ProcessSpec[] =>
    Array.from({ length: count }, (_, index) =>
      specOf(service, count === 1 ? service : `${service}-${index + 1}`),
    )
  await supervisor.start(specs('registry', 1))
  await supervisor.start(Object.entries(instances).flatMap(([service, count]) => specs(service, count)))
}

/** A registry that cannot listen would be restarted for ever; and its port may belong to another mesh. */
async function refuseTakenPort(address: string): Promise<void> {
  const socket = connect(hostAndPort(address))
  const taken = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => resolve(false))
  })
  socket.destroy()
  if (taken) {
    throw new CliError(
      EXIT.usage,
      `something listens on ${address} already, where the registry should`,
      'stop it, or choose another address with --registry 127.0.0.1:7401',
    )
  }
}
