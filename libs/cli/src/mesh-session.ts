import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import {
  DiagnosticsServiceDefinition,
  type GetDiagnosticsResponse,
  type GetMeshViewResponse,
} from '@docmesh/contracts/ops/v1/diagnostics'
import { EventServiceDefinition } from '@docmesh/contracts/ops/v1/event'
import { JobServiceDefinition } from '@docmesh/contracts/ops/v1/job'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { joinMesh } from '@docmesh/mesh'
import { type Client, createClient, currentCall, grpcJsClient, runInCall, sendOver } from '@docmesh/rpc'
import { createMetrics, type Logger } from '@docmesh/telemetry'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'
import { VERSION } from './version.ts'

/** The mesh as the commands use it. */
export interface MeshSession {
  readonly documents: Client<typeof DocumentServiceDefinition>
  readonly analyses: Client<typeof AnalysisServiceDefinition>
  readonly batches: Client<typeof BatchServiceDefinition>
  readonly jobs: Client<typeof JobServiceDefinition>
  readonly notifications: Client<typeof NotificationServiceDefinition>
  readonly registry: Client<typeof RegistryServiceDefinition>
  readonly events: Client<typeof EventServiceDefinition>
  /** Asks one instance, past the balancing. */
  diagnose(address: string): Promise<GetDiagnosticsResponse>
  /** How one instance sees the mesh as a caller; `service` '' is every service that it calls. */
  meshView(
    address: string,
    request: { readonly service: string; readonly limit: number },
  ): Promise<GetMeshViewResponse>
  /** Resolves when each service has an instance that takes calls. */
  awaitServices(services: readonly string[]): Promise<void>
  close(): Promise<void>
}

export interface ConnectOptions {
  /** Replicas of the registry, `host:port`. */
  readonly targets: readonly string[]
  readonly logger: Logger
}

const REACH_TIMEOUT_MS = 3_000
const DIAGNOSE_TIMEOUT_MS = 2_000
const SERVICES_TIMEOUT_MS = 15_000
const POLL_MS = 20

const registryAt = (target: string) => {
  const connection = grpcJsClient.connect(target)
  const send = sendOver(connection)
  return {
    registry: createClient(RegistryServiceDefinition, send),
    events: createClient(EventServiceDefinition, send),
    connection,
  }
}

/** Joins the mesh as a client. @throws CliError with the code for an unreachable mesh when no registry answers. */
export async function connectMesh({ targets, logger }: ConnectOptions): Promise<MeshSession> {
  const registries = targets.map(registryAt)
  const closeRegistries = (): void => {
    for (const { connection } of registries) connection.close()
  }
  let answering: ReturnType<typeof registryAt>
  try {
    answering = await Promise.any(
      registries.map(async (each) => {
        await each.registry.getStatus({}, { timeoutMs: REACH_TIMEOUT_MS })
        return each
      }),
    )
  } catch (cause) {
    closeRegistries()
    throw new CliError(
      EXIT.unreachable,
      `no mesh answers at ${targets.join(', ')}`,
      'start one with `docmesh up`, or say where it is with --registry host:port',
      { cause },
    )
  }
  const metrics = createMetrics({ service: 'cli', version: VERSION, processMetrics: false })
  const mesh = joinMesh({ registryTargets: targets, logger, metrics })
  return {
    documents: mesh.client(DocumentServiceDefinition, 'document'),
    analyses: mesh.client(AnalysisServiceDefinition, 'analysis'),
    batches: mesh.client(BatchServiceDefinition, 'analysis'),
    jobs: mesh.client(JobServiceDefinition, 'analysis'),
    notifications: mesh.client(NotificationServiceDefinition, 'notification'),
    registry: answering.registry,
    events: answering.events,
    diagnose: (address) =>
      askInstance(address, (instance) => instance.getDiagnostics({}, { timeoutMs: DIAGNOSE_TIMEOUT_MS })),
    meshView: (address, request) =>
      askInstance(address, (instance) => instance.getMeshView(request, { timeoutMs: DIAGNOSE_TIMEOUT_MS })),
    async awaitServices(services) {
      const deadline = performance.now() + SERVICES_TIMEOUT_MS
      const missing = () =>
        services.filter((name) => !mesh.endpoints(name).some(({ state }) => state === 'ready'))
      while (missing().length > 0) {
        if (performance.now() > deadline) {
          throw new CliError(
            EXIT.unreachable,
            `the mesh has no instance of ${missing().join(', ')}`,
            '`docmesh services` shows what it has',
          )
        }
        await delay(POLL_MS, undefined, { signal: currentCall()?.signal })
      }
    },
    async close() {
      await mesh.close()
      metrics.stop()
      closeRegistries()
    },
  }
}

type Diagnostics = Client<typeof DiagnosticsServiceDefinition>

async function askInstance<T>(address: string, ask: (diagnostics: Diagnostics) => Promise<T>): Promise<T> {
  const connection = grpcJsClient.connect(address)
  try {
    return await ask(createClient(DiagnosticsServiceDefinition, sendOver(connection)))
  } finally {
    connection.close()
  }
}

export interface Caller {
  readonly userId: string
  readonly tenantId: string
  /** Time for everything that is done. */
  readonly timeoutMs?: number | undefined
  readonly signal: AbortSignal
}

/** Every call made inside `fn` carries the caller's identity, ends with the signal, and shares the deadline. */
export const actAs = <T>({ userId, tenantId, timeoutMs = Infinity, signal }: Caller, fn: () => T): T =>
  runInCall({ requestId: randomUUID(), userId, tenantId, deadline: Date.now() + timeoutMs, signal }, fn)
