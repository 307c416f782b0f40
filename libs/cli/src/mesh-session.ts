import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import {
  DiagnosticsServiceDefinition,
  type GetDiagnosticsResponse,
} from '@docmesh/contracts/ops/v1/diagnostics'
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
  readonly notifications: Client<typeof NotificationServiceDefinition>
  readonly registry: Client<typeof RegistryServiceDefinition>
  /** Asks one instance, past the balancing. */
  diagnose(address: string): Promise<GetDiagnosticsResponse>
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
  return { client: createClient(RegistryServiceDefinition, sendOver(connection)), connection }
}

/** Joins the mesh as a client. @throws CliError with the code for an unreachable mesh when no registry answers. */
export async function connectMesh({ targets, logger }: ConnectOptions): Promise<MeshSession> {
  const registries = targets.map(registryAt)
  const closeRegistries = (): void => {
    for (const { connection } of registries) connection.close()
  }
  let registry: MeshSession['registry']
  try {
    registry = await Promise.any(
      registries.map(async ({ client }) => {
        await client.getStatus({}, { timeoutMs: REACH_TIMEOUT_MS })
        return client
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
    notifications: mesh.client(NotificationServiceDefinition, 'notification'),
    registry,
    diagnose,
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

async function diagnose(address: string): Promise<GetDiagnosticsResponse> {
  const connection = grpcJsClient.connect(address)
  try {
    const client = createClient(DiagnosticsServiceDefinition, sendOver(connection))
    return await client.getDiagnostics({}, { timeoutMs: DIAGNOSE_TIMEOUT_MS })
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
