import { randomUUID } from 'node:crypto'
import type { Registration } from '@docmesh/contracts/registry/v1/registry'
import type { BreakerSnapshot } from '@docmesh/resilience'
import {
  type Client,
  type ClientTransport,
  type Connection,
  createClient,
  createGrpcJsClient,
  metricsLayer,
  type ServiceDefinition,
} from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import type { AdmissionOptions } from './admission.ts'
import type { Decision } from './decision-log.ts'
import { type Endpoint, endpointOf } from './endpoint.ts'
import type { EndpointView } from './endpoint-set.ts'
import { hedgedMethods } from './hedge.ts'
import { createIncidentLog, type Incident } from './incident.ts'
import { type Membership, type MembershipEvents, register } from './registration.ts'
import { type CalledService, createCalledService, type SharedService } from './service.ts'
import { EMPTY_MESH, type MeshState } from './snapshot.ts'
import type { SnapshotFile } from './snapshot-file.ts'
import { type CompiledPolicy, compileTrafficPolicy } from './traffic-policy.ts'
import { followMesh } from './watch.ts'

export interface MeshOptions {
  /** Replicas of the registry, `host:port`. */
  readonly registryTargets: readonly string[]
  readonly logger: Logger
  readonly metrics: Metrics
  /** Default: grpc-js. */
  readonly transport?: ClientTransport
  /** Zone of this process: instances of the same zone are called first. Default '', no preference. */
  readonly zone?: string | undefined
  /** Names this process, so that each client of a large service uses other instances. Default a random name. */
  readonly clientId?: string | undefined
  /** When the circuit breakers open, and what counts as slow. Default: the breaker's defaults. */
  readonly admission?: AdmissionOptions
  /** File for the last good state of the mesh, used until the registry answers. Default none. */
  readonly snapshotPath?: string | undefined
}

export interface BreakerView {
  readonly service: string
  readonly methodClass: string
  readonly snapshot: BreakerSnapshot
}

export interface ClientOptions<D extends ServiceDefinition> {
  /** Idempotent unary methods that are sent a second time, elsewhere, when they take longer than their p95. */
  readonly hedge?: readonly (keyof D['methods'] & string)[]
}

export interface Mesh {
  /** A typed client whose calls are balanced, guarded and retried over the instances of `service`. */
  client<D extends ServiceDefinition>(definition: D, service: string, options?: ClientOptions<D>): Client<D>
  /** Makes this process an instance of the mesh. */
  register(registration: Registration, events: MembershipEvents): Membership
  endpoints(service: string): readonly EndpointView[]
  shared(service: string): SharedService
  /** Calls the listener after each change of the mesh; the answer unsubscribes. */
  onUpdate(listener: () => void): () => void
  breakers(): readonly BreakerView[]
  /** Services that this process calls. */
  services(): readonly string[]
  /** Recent attempts and refusals of the calls to a service, newest first. */
  decisions(service: string, limit: number): readonly Decision[]
  /** Recent changes of state of this process as a caller, newest first. */
  incidents(limit: number): readonly Incident[]
  /** The state of the mesh in force. `ageMs` counts from the loss of the watch, or from the write of a saved state. */
  snapshot(): { readonly epoch: string; readonly revision: bigint; readonly ageMs: number }
  /** Resolves when the first state of the mesh is known. */
  readonly synced: Promise<void>
  /** Leaves. Calls in flight finish; later ones fail. */
  close(): Promise<void>
}

const OBSERVE_MS = 5_000
/** Interval of gRFC A50. */
const SWEEP_MS = 10_000
const NO_POLICY = compileTrafficPolicy(undefined)

/** Joins the mesh as a client: follows the registry in the background and never waits for it. */
export function joinMesh({
  registryTargets,
  logger,
  metrics,
  zone = '',
  clientId = randomUUID(),
  admission = {},
  snapshotPath,
  transport = countingTransport(metrics),
}: MeshOptions): Mesh {
  const ended = new AbortController()
  const synced = Promise.withResolvers<void>()
  const services = new Map<string, CalledService>()
  const connections = new Map<string, Connection>()
  const listeners = new Set<() => void>()
  const clientMetrics = metricsLayer(metrics, 'client')
  const revision = metrics.gauge('docmesh_mesh_snapshot_revision')
  const age = metrics.gauge('docmesh_mesh_snapshot_age_seconds')
  const fileAge = metrics.gauge('docmesh_mesh_snapshot_file_age_seconds')
  const incidents = createIncidentLog()
  let current = EMPTY_MESH
  let lostAt: number | undefined
  let policies: ReadonlyMap<string, CompiledPolicy> = new Map()
  let byService: ReadonlyMap<string, Endpoint[]> = new Map()

  function serviceOf(name: string): CalledService {
    const known = services.get(name)
    if (known) return known
    const service = createCalledService({
      name,
      zone,
      clientId,
      admission,
      policy: () => policies.get(name) ?? NO_POLICY,
      connectionTo,
      synced: synced.promise,
      incidents,
      metrics,
      logger,
    })
    services.set(name, service)
    service.update(byService.get(name) ?? [])
    return service
  }

  function connectionTo(address: string): Connection {
    let connection = connections.get(address)
    if (!connection) {
      connection = transport.connect(address)
      if (ended.signal.aborted)
        connection.close() // nobody else would
      else connections.set(address, connection)
    }
    return connection
  }

  function apply(state: MeshState): void {
    if (ended.signal.aborted) return
    current = state
    byService = groupByService(state)
    policies = new Map([...state.policies].map(([name, policy]) => [name, compileTrafficPolicy(policy)]))
    for (const [name, service] of services) service.update(byService.get(name) ?? [])
    const live = new Set([...byService.values()].flat().map(({ address }) => address))
    for (const [address, connection] of connections) {
      if (live.has(address)) continue
      connections.delete(address)
      connection.close()
    }
    for (const listener of listeners) listener()
    revision.set(Number(state.revision))
    if (!state.savedAt) lostAt = undefined
    observe()
    synced.resolve()
  }

  function observe(): void {
    for (const service of services.values()) service.observe()
    age.set(lostForMs() / 1_000)
    fileAge.set(savedForMs() / 1_000)
  }

  const lostForMs = (): number => (lostAt === undefined ? 0 : performance.now() - lostAt)
  const savedForMs = (): number => (current.savedAt ? Date.now() - current.savedAt.getTime() : 0)

  function sweep(): void {
    for (const { shared } of services.values()) shared.endpoints.sweep()
  }

  const following = followMesh(
    {
      targets: registryTargets,
      transport,
      logger,
      file: snapshotPath === undefined ? undefined : openSnapshotFile(snapshotPath, logger),
      onState: apply,
      onLost: () => {
        lostAt ??= performance.now()
      },
    },
    ended.signal,
  )
  const timers = [setInterval(observe, OBSERVE_MS).unref(), setInterval(sweep, SWEEP_MS).unref()]

  return {
    client(definition, service, { hedge } = {}) {
      const { channel, listen } = serviceOf(service)
      if (!ended.signal.aborted) listen()
      const send = hedge ? channel.hedging(hedgedMethods(definition, hedge)) : channel.call
      return createClient(definition, send, [clientMetrics])
    },
    register(registration, events) {
      const membership = register(registration, { targets: registryTargets, transport, logger, ...events })
      incidents.onRecord(membership.report)
      return membership
    },
    endpoints: (service) => serviceOf(service).shared.endpoints.list(),
    shared: (service) => serviceOf(service).shared,
    onUpdate(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    breakers: () =>
      [...services].flatMap(([service, { channel }]) =>
        [...channel.breakers()].map(([methodClass, breaker]) => ({
          service,
          methodClass,
          snapshot: breaker.snapshot(),
        })),
      ),
    services: () => [...services.keys()],
    decisions: (service, limit) => services.get(service)?.channel.decisions(limit) ?? [],
    incidents: incidents.list,
    snapshot: () => ({
      epoch: current.epoch,
      revision: current.revision,
      ageMs: Math.max(lostForMs(), savedForMs()),
    }),
    synced: synced.promise,
    async close() {
      ended.abort()
      for (const timer of timers) clearInterval(timer)
      for (const service of services.values()) service.close()
      await following
      for (const connection of connections.values()) connection.close()
      connections.clear()
    },
  }
}

function groupByService({ instances }: MeshState): ReadonlyMap<string, Endpoint[]> {
  const groups = new Map<string, Endpoint[]>()
  for (const instance of instances.values()) {
    const endpoint = endpointOf(instance)
    const name = instance.registration?.service
    if (!endpoint || !name) continue
    const group = groups.get(name)
    if (group) group.push(endpoint)
    else groups.set(name, [endpoint])
  }
  return groups
}

/** Loaded for those who keep a file. */
async function openSnapshotFile(path: string, logger: Logger): Promise<SnapshotFile> {
  const { createSnapshotFile } = await import('./snapshot-file.ts')
  return createSnapshotFile({ path, logger })
}

function countingTransport(metrics: Metrics): ClientTransport {
  const discarded = metrics.counter('docmesh_mesh_connections_discarded_total')
  return createGrpcJsClient({ onDiscard: () => discarded.inc() })
}
