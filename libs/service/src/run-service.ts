import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { LifecycleState } from '@docmesh/contracts/ops/v1/diagnostics'
import { InstanceState } from '@docmesh/contracts/registry/v1/registry'
import { joinMesh, type Membership, type Mesh } from '@docmesh/mesh'
import {
  admitLayer,
  callLogFields,
  createHealthService,
  deadlineLayer,
  grpcJsServer,
  type Implementation,
  logLayer,
  metricsLayer,
  routesOf,
} from '@docmesh/rpc'
import { reflectionServices } from '@docmesh/rpc/reflection'
import { createHealth, createMetrics, type Health, type Logger, type Metrics } from '@docmesh/telemetry'
import { createLogger } from '@docmesh/telemetry/logger'
import { currentTraceContext, sampledTrace, startTracing } from '@docmesh/telemetry/tracing'
import { startAdminServer } from './admin-server.ts'
import { type BaseEnv, baseEnv } from './base-env.ts'
import { diagnostics } from './diagnostics.ts'
import { type EnvOf, type EnvSchema, parseEnv } from './env.ts'
import { createLifecycle } from './lifecycle.ts'
import { createScope, type Scope } from './scope.ts'
import { createStop, type Stop } from './stop.ts'
import { VERSION } from './version.ts'

/** What a service gets to build itself from. */
export interface ServiceContext<S extends EnvSchema> {
  readonly env: EnvOf<S> & BaseEnv
  /** Takes charge of a resource: it is closed at the end, last in, first out. */
  readonly own: Scope['own']
  readonly logger: Logger
  readonly metrics: Metrics
  readonly health: Health
  readonly mesh: Mesh
  readonly clock: () => Date
  /** UUIDv7: sorts by time. */
  readonly ids: () => string
  /** Names this process in the mesh. */
  readonly instanceId: string
}

export interface BuiltService {
  readonly serve: readonly Implementation[]
  /** Names of the services that this one calls. */
  readonly dependencies?: readonly string[]
  /** Called with the address that others dial when the service takes calls: the moment to start workers. */
  readonly started?: (address: string) => unknown
  /** Called before calls in flight are waited for: the moment to stop taking work. */
  readonly stopping?: () => unknown
}

/** What is on its way when the callers know of the drain, so that none of their calls meets the GOAWAY. */
const DRAIN_NOTICE_MS = 100

/**
 * The only bootstrap. Start: environment → telemetry → build → serve → health SERVING → register → `started`. Stop, on
 * SIGTERM, SIGINT, the end of the parent process or the wish of the registry: DRAINING in the mesh, until the callers
 * know → health NOT_SERVING → `stopping` → GOAWAY → calls in flight, which get `SHUTDOWN_GRACE_MS` or what the registry
 * gives them → deregister → what the service owns, last in, first out. A half-failed
 * start is torn down and ends the process with exit code 1; so does an uncaught exception, after a drain. A faulty
 * environment ends it with 78.
 */
export async function runService<S extends EnvSchema>(
  service: string,
  schema: S,
  build: (context: ServiceContext<S>) => Promise<BuiltService>,
): Promise<void> {
  const startedAt = Date.now()
  let env: EnvOf<S> & BaseEnv
  try {
    env = parseEnv({ ...baseEnv, ...schema }, process.env) as unknown as EnvOf<S> & BaseEnv
  } catch (error) {
    process.stderr.write(`${service}: ${(error as Error).message}\n`)
    process.exitCode = 78 // EX_CONFIG
    process.disconnect?.()
    return
  }
  const logger = createLogger({
    service,
    version: VERSION,
    level: env.logLevel,
    pretty: env.environment === 'development' && process.stderr.isTTY === true,
    context: () => ({ ...callLogFields(), ...traceFields() }),
  })
  const lifecycle = createLifecycle(() => new Date())
  const scope = createScope((resource, err) => logger.error({ err, resource }, 'release failed'))
  const stop = createStop(scope, lifecycle, logger)
  try {
    await start({ service, env, build, logger, lifecycle, scope, startedAt, stop })
  } catch (err) {
    // Whoever is stopped while it starts finds its database closed.
    if (lifecycle.state() === LifecycleState.STOPPING) return logger.info({ err }, 'start given up')
    logger.fatal({ err }, 'start failed')
    lifecycle.enter(LifecycleState.ERROR, String(err))
    await stop('start failed', 1)
  }
}

interface Start<S extends EnvSchema> {
  readonly service: string
  readonly env: EnvOf<S> & BaseEnv
  readonly build: (context: ServiceContext<S>) => Promise<BuiltService>
  readonly logger: Logger
  readonly lifecycle: ReturnType<typeof createLifecycle>
  readonly scope: Scope
  readonly startedAt: number
  readonly stop: Stop
}

async function start<S extends EnvSchema>({
  service,
  env,
  build,
  logger,
  lifecycle,
  scope,
  startedAt,
  stop,
}: Start<S>): Promise<void> {
  const instanceId = `${service}-${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`
  lifecycle.enter(LifecycleState.STARTING, 'environment read')
  const tracing = await startTracing({ service, version: VERSION, environment: env.environment, logger })
  scope.onRelease('tracing', () => tracing.shutdown())
  const metrics = createMetrics({ service, version: VERSION, exemplar: sampledTrace })
  scope.onRelease('metrics', () => metrics.stop())
  const health = createHealth({ metrics })
  scope.onRelease('health', () => health.stop())
  const admin = scope.own(await startAdminServer(env.adminListen, { health, metrics, lifecycle }))
  const mesh = scope.own(
    joinMesh({
      registryTargets: env.registryTarget,
      logger,
      metrics,
      zone: env.zone,
      clientId: instanceId,
      snapshotPath: env.meshSnapshotDir && join(env.meshSnapshotDir, `${service}.mesh`),
    }),
  )

  const built = await build({
    env,
    own: scope.own,
    logger,
    metrics,
    health,
    mesh,
    clock: () => new Date(),
    ids: randomUUIDv7,
    instanceId,
  })
  const implementations = [
    ...built.serve,
    diagnostics({
      service,
      instanceId,
      version: VERSION,
      startedAt,
      health,
      lifecycle,
      logger,
      metrics,
      mesh,
      implementations: built.serve,
    }),
  ]
  const names = implementations.map(({ definition }) => definition.fullName)
  const serving = createHealthService(names)
  const layers = [metricsLayer(metrics, 'server'), logLayer(logger), deadlineLayer(), admitLayer()]
  const routes = [
    ...implementations,
    serving.implementation,
    ...reflectionServices([...names, serving.implementation.definition.fullName]),
  ].flatMap((implementation) => routesOf(implementation, layers))
  let membership: Membership | undefined
  scope.onRelease('membership', () => membership?.leave())
  const listener = await grpcJsServer.listen(env.grpcListen, routes)
  let graceMs = env.shutdownGraceMs
  scope.onRelease('grpc server', () => listener.close(graceMs))
  scope.onRelease('service', () => built.stopping?.())
  health.start()
  serving.set(true)
  scope.onRelease('drain', async () => {
    await membership?.drain()
    serving.set(false)
    await delay(DRAIN_NOTICE_MS)
  })

  const address = env.advertiseAddress ?? listener.address
  membership = mesh.register(
    {
      service,
      instanceId,
      incarnation: BigInt(startedAt),
      address,
      adminAddress: admin.address,
      version: VERSION,
      zone: env.zone ?? '',
      grpcServices: names,
      dependencies: [...(built.dependencies ?? [])],
      capabilities: [],
      weight: 0,
      labels: {},
      state: InstanceState.SERVING,
    },
    {
      onReplaced: (error) => void stop(`replaced: ${error.message}`, 1),
      onDrain(wantedMs) {
        graceMs = wantedMs ?? graceMs
        void stop('the registry asked for it', 0)
      },
    },
  )
  await built.started?.(address)
  if (lifecycle.state() !== LifecycleState.STARTING) throw new Error('stopped before it was ready')
  lifecycle.enter(LifecycleState.READY, `listening on ${listener.address}`)
  logger.info({ address, admin: admin.address, ms: Date.now() - startedAt }, 'ready')
  process.send?.({
    kind: 'ready',
    service,
    instanceId,
    address: listener.address,
    adminAddress: admin.address,
  })
}

const traceFields = (): Record<string, string> => {
  const trace = currentTraceContext()
  return trace ? { trace_id: trace.traceId, span_id: trace.spanId } : {}
}
