import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { hostname } from 'node:os'
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
  reflectionServices,
  routesOf,
} from '@docmesh/rpc'
import {
  createHealth,
  createLogger,
  createMetrics,
  currentTraceContext,
  type Health,
  type Logger,
  type Metrics,
  startTracing,
} from '@docmesh/telemetry'
import { startAdminServer } from './admin-server.ts'
import { type BaseEnv, baseEnv } from './base-env.ts'
import { diagnostics } from './diagnostics.ts'
import { type EnvOf, type EnvSchema, parseEnv } from './env.ts'
import { createLifecycle } from './lifecycle.ts'
import { createScope, type Scope } from './scope.ts'
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

/** What the registry's push needs to reach the callers, so that none of them sends a call into the GOAWAY. */
const DRAIN_NOTICE_MS = 100

/**
 * The only bootstrap. Start: environment → telemetry → build → serve → health SERVING → register → `started`. Stop, on
 * SIGTERM, SIGINT or the end of the parent process: DRAINING in the mesh → health NOT_SERVING → `stopping` → GOAWAY →
 * calls in flight, which get `SHUTDOWN_GRACE_MS` → deregister → what the service owns, last in, first out. A half-failed
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
    logger.fatal({ err }, 'start failed')
    lifecycle.enter(LifecycleState.ERROR, String(err))
    await stop('start failed', 1)
  }
}

type Stop = (reason: string, exitCode: number) => Promise<void>

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
  const metrics = createMetrics({ service, version: VERSION })
  scope.onRelease('metrics', () => metrics.stop())
  const health = createHealth({ metrics })
  scope.onRelease('health', () => health.stop())
  const admin = scope.own(await startAdminServer(env.adminListen, { health, metrics, lifecycle }))
  const mesh = scope.own(joinMesh({ registryTargets: env.registryTarget, logger, metrics }))

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
  scope.onRelease('grpc server', () => listener.close(env.shutdownGraceMs))
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
    (error) => void stop(`replaced: ${error.message}`, 1),
  )
  await built.started?.(address)
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

/** One shutdown, whoever asks first. */
function createStop(scope: Scope, lifecycle: ReturnType<typeof createLifecycle>, logger: Logger): Stop {
  let stopped: Promise<void> | undefined
  const stop: Stop = (reason, exitCode) => {
    stopped ??= (async () => {
      lifecycle.enter(LifecycleState.STOPPING, reason)
      logger.info({ reason }, 'stopping')
      await scope.release()
      lifecycle.enter(LifecycleState.STOPPED, reason)
      logger.info({ reason }, 'stopped')
      process.exit(exitCode)
    })()
    return stopped
  }
  process.on('SIGTERM', () => void stop('SIGTERM', 0))
  process.on('SIGINT', () => void stop('SIGINT', 0))
  process.on('disconnect', () => void stop('the supervisor is gone', 0))
  process.on('uncaughtException', (err, origin) => {
    logger.fatal({ err, origin }, 'uncaught')
    void stop(origin, 1)
  })
  return stop
}
