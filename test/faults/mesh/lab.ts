import { once } from 'node:events'
import { joinMesh, type Mesh } from '@docmesh/mesh'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, freePort } from '@docmesh/testing'
import { FaultyEchoDefinition } from './echo.ts'
import type { Behaviour } from './echo-server.ts'
import { type Load, startLoad } from './load.ts'
import { end, type Running, startNode } from './processes.ts'

const REGISTRY = new URL('../../../services/registry/src/main.ts', import.meta.url)
const ECHO = new URL('echo-server.ts', import.meta.url)

export interface LabOptions {
  readonly registries?: number
  readonly echoes?: number
  /** For every process. */
  readonly env?: Readonly<Record<string, string>>
  /** Address that the registries listen on. Default 127.0.0.1. */
  readonly host?: string
}

export interface LoadOptions {
  readonly perSecond: number
  /** Deadline of each call. Default 2,000. */
  readonly timeoutMs?: number
  /** Every second call is of a method that may not be sent twice. Default false. */
  readonly mixed?: boolean
}

/** A registry, echoes and one caller: real processes over real sockets. */
export interface Lab extends AsyncDisposable {
  readonly mesh: Mesh
  readonly registryTargets: readonly string[]
  readonly echoes: Running[]
  readonly registries: Running[]
  startEcho(options?: {
    readonly env?: Readonly<Record<string, string>>
    readonly namespace?: string
  }): Promise<Running>
  /** Starts the registry of this index again, at its old address. */
  restartRegistry(index: number): Promise<void>
  behave(echo: Running, behaviour: Behaviour): Promise<void>
  /** Resolves when the caller may pick every one of these. */
  ready(echoes: readonly Running[]): Promise<void>
  load(options: LoadOptions): Load
  /** When the caller last picked this instance, in monotonic milliseconds, as far as it remembers. */
  lastPickOf(echo: Running): number | undefined
}

export async function startLab({
  registries = 1,
  echoes = 3,
  env = {},
  host = '127.0.0.1',
}: LabOptions): Promise<Lab> {
  const releases: (() => unknown)[] = []
  const release = async (): Promise<void> => {
    for (const each of releases.splice(0).reverse()) await each()
  }
  const registryTargets = await Promise.all(
    Array.from({ length: registries }, async () => `${host}:${await freePort()}`),
  )
  const common = { REGISTRY_TARGET: registryTargets.join(','), SHUTDOWN_GRACE_MS: '10000', ...env }
  const running = { registries: [] as Running[], echoes: [] as Running[] }

  async function start(script: URL, options: { env?: Readonly<Record<string, string>>; namespace?: string }) {
    const started = await startNode(script, { ...options, env: { ...common, ...options.env } })
    releases.push(() => end(started.process))
    return started
  }
  const startRegistry = async (index: number): Promise<void> => {
    running.registries[index] = await start(REGISTRY, {
      env: { GRPC_LISTEN: registryTargets[index] as string },
    })
  }
  const startEcho: Lab['startEcho'] = async (options = {}) => {
    const echo = await start(ECHO, options)
    running.echoes.push(echo)
    return echo
  }

  try {
    await Promise.all(registryTargets.map((_, index) => startRegistry(index)))
    await Promise.all(Array.from({ length: echoes }, () => startEcho()))
    const metrics = createMetrics({ service: 'faults', version: '0', processMetrics: false })
    const mesh = joinMesh({ registryTargets, logger: silentLogger, metrics })
    releases.push(async () => {
      await mesh.close()
      metrics.stop()
    })
    const client = mesh.client(FaultyEchoDefinition, 'echo')
    const payload = Buffer.alloc(256, 7)
    const lab: Lab = {
      mesh,
      registryTargets,
      ...running,
      startEcho,
      restartRegistry: startRegistry,
      async behave(echo, behaviour) {
        const heard = once(echo.process, 'message')
        echo.process.send(behaviour)
        await heard
      },
      ready: (wanted) =>
        eventually(() => {
          const ready = new Set(
            mesh
              .endpoints('echo')
              .filter(({ state }) => state === 'ready')
              .map(({ endpoint }) => endpoint.instanceId),
          )
          if (!wanted.every(({ instanceId }) => ready.has(instanceId)))
            throw new Error('not every echo is ready')
        }),
      load: ({ perSecond, timeoutMs = 2_000, mixed = false }) =>
        startLoad(
          (number) => client[mixed && number % 2 === 1 ? 'echoOnce' : 'echo'](payload, { timeoutMs }),
          perSecond,
        ),
      lastPickOf({ instanceId }) {
        const at = mesh
          .decisions('echo', 1_000)
          .find(({ picked }) => picked === instanceId)
          ?.at.getTime()
        return at === undefined ? undefined : at - performance.timeOrigin
      },
      [Symbol.asyncDispose]: release,
    }
    await lab.ready(running.echoes)
    return lab
  } catch (error) {
    await release()
    throw error
  }
}

/** Ends with SIGKILL and waits until the process is gone. */
export async function kill9({ process }: Running): Promise<void> {
  const exited = once(process, 'exit')
  process.kill('SIGKILL')
  await exited
}
