import { userInfo } from 'node:os'
import { type Logger, silentLogger } from '@docmesh/telemetry'
import { createLogger } from '@docmesh/telemetry/logger'
import type { Command } from 'commander'
import { dataDirOf, readMeshState } from './data-dir.ts'
import type { ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import type { LocalMeshOptions, Started } from './local-mesh.ts'
import { actAs, type Caller, type ConnectOptions, type MeshSession } from './mesh-session.ts'
import { VERSION } from './version.ts'

/** Options of every command. */
export interface GlobalOptions {
  readonly registry?: string
  readonly dataDir?: string
  readonly user?: string
  readonly tenant?: string
  readonly timeout?: number
  readonly verbose?: boolean
  readonly color: boolean
}

/** What the commands work with; tests give their own. */
export interface Cli {
  readonly io: Io
  connect(options: ConnectOptions): Promise<MeshSession>
  startMesh(options: LocalMeshOptions, io: Io): Promise<Started>
  /** Takes the exit code of the command that ran. */
  exit(code: ExitCode): void
}

export const DEFAULT_REGISTRY = '127.0.0.1:7400'

export const dataDirFor = ({ io }: Cli, { dataDir }: GlobalOptions): string =>
  dataDirOf({ given: dataDir, env: io.env, uid: process.getuid?.() })

/** --registry, else REGISTRY_TARGET, else the mesh that runs on the data folder, else the usual address. */
export function registryTargets(cli: Cli, options: GlobalOptions): readonly string[] {
  const local = readMeshState(dataDirFor(cli, options))
  const found =
    options.registry ?? (cli.io.env.REGISTRY_TARGET || (local?.open ? local.registry : DEFAULT_REGISTRY))
  return found.split(',').map((target) => target.trim())
}

function callerFor({ io }: Cli, { user, tenant, timeout }: GlobalOptions): Caller {
  return { userId: user ?? osUser(), tenantId: tenant ?? '', timeoutMs: timeout, signal: io.signal }
}

function osUser(): string {
  try {
    return userInfo().username
  } catch {
    return '' // a container may run under a user id that has no name
  }
}

const loggerFor = (io: Io, { verbose }: GlobalOptions): Logger =>
  verbose
    ? createLogger({
        service: 'docmesh',
        version: VERSION,
        level: 'warn',
        pretty: true,
        destination: io.stderr,
      })
    : silentLogger

/** Joins the mesh at `targets`, runs `fn` as the user, and leaves. */
export async function withMesh<T>(
  cli: Cli,
  options: GlobalOptions,
  fn: (session: MeshSession) => Promise<T>,
  targets = registryTargets(cli, options),
): Promise<T> {
  const session = await cli.connect({ targets, logger: loggerFor(cli.io, options) })
  try {
    return await actAs(callerFor(cli, options), () => fn(session))
  } finally {
    await session.close()
  }
}

/** The action of a command whose work returns an exit code. */
export const ending =
  <O extends GlobalOptions>(cli: Cli, work: (options: O, ...args: string[]) => Promise<ExitCode>) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command
    cli.exit(await work(command.optsWithGlobals<O>(), ...(command.args as string[])))
  }
