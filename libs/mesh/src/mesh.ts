import type { Registration } from '@docmesh/contracts/registry/v1/registry'
import type { BreakerSnapshot } from '@docmesh/resilience'
import {
  type Client,
  type ClientTransport,
  type Connection,
  createClient,
  grpcJsClient,
  metricsLayer,
  type ServiceDefinition,
} from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { type Channel, createChannel } from './channel.ts'
import { type Endpoint, endpointOf } from './endpoint.ts'
import { createEndpointSet, type EndpointSet, type EndpointView } from './endpoint-set.ts'
import { type Membership, register } from './registration.ts'
import type { MeshState } from './snapshot.ts'
import { followMesh } from './watch.ts'

export interface MeshOptions {
  /** Replicas of the registry, `host:port`. */
  readonly registryTargets: readonly string[]
  readonly logger: Logger
  readonly metrics: Metrics
  /** Default: grpc-js. */
  readonly transport?: ClientTransport
}

export interface BreakerView {
  readonly service: string
  readonly methodClass: string
  readonly snapshot: BreakerSnapshot
}

export interface Mesh {
  /** A typed client whose calls are balanced, guarded and retried over the instances of `service`. */
  client<D extends ServiceDefinition>(definition: D, service: string): Client<D>
  /** Makes this process an instance of the mesh. `onReplaced` tells that a newer process took its id. */
  register(registration: Registration, onReplaced: (error: Error) => void): Membership
  endpoints(service: string): readonly EndpointView[]
  breakers(): readonly BreakerView[]
  /** Resolves when the first state of the mesh is known. */
  readonly synced: Promise<void>
  close(): Promise<void>
}

const OBSERVE_MS = 5_000
const STATES: readonly EndpointView['state'][] = ['ready', 'ejected', 'unhealthy', 'draining']

interface Service {
  readonly endpoints: EndpointSet
  readonly channel: Channel
}

/** Joins the mesh as a client: follows the registry in the background and never waits for it. */
export function joinMesh({ registryTargets, logger, metrics, transport = grpcJsClient }: MeshOptions): Mesh {
  const ended = new AbortController()
  const synced = Promise.withResolvers<void>()
  const services = new Map<string, Service>()
  const connections = new Map<string, Connection>()
  const clientMetrics = metricsLayer(metrics, 'client')
  const ejections = metrics.counter('docmesh_mesh_ejections_total')
  const revision = metrics.gauge('docmesh_mesh_snapshot_revision')
  const states = metrics.gauge('docmesh_mesh_endpoints')
  const age = metrics.gauge('docmesh_mesh_snapshot_age_seconds')
  let lostAt: number | undefined
  let byService: ReadonlyMap<string, Endpoint[]> = new Map()

  function serviceOf(name: string): Service {
    let service = services.get(name)
    if (!service) {
      const endpoints = createEndpointSet({
        now: () => performance.now(),
        random: Math.random,
        onEjection: ({ instanceId, address }) => {
          ejections.inc({ service: name, reason: 'consecutive_failures' })
          logger.warn({ instance: { service: name, id: instanceId, address } }, 'endpoint ejected')
        },
      })
      endpoints.update(byService.get(name) ?? [])
      const channel = createChannel({
        service: name,
        endpoints,
        connectionTo,
        synced: synced.promise,
        metrics,
        logger,
        now: () => performance.now(),
        random: Math.random,
      })
      service = { endpoints, channel }
      services.set(name, service)
    }
    return service
  }

  function connectionTo(address: string): Connection {
    let connection = connections.get(address)
    if (!connection) {
      connection = transport.connect(address)
      connections.set(address, connection)
    }
    return connection
  }

  function apply(state: MeshState): void {
    byService = groupByService(state)
    for (const [name, { endpoints }] of services) endpoints.update(byService.get(name) ?? [])
    const live = new Set([...byService.values()].flat().map(({ address }) => address))
    for (const [address, connection] of connections) {
      if (live.has(address)) continue
      connections.delete(address)
      connection.close()
    }
    revision.set(Number(state.revision))
    lostAt = undefined
    observe()
    synced.resolve()
  }

  function observe(): void {
    for (const [service, { endpoints }] of services) {
      const views = endpoints.list()
      for (const state of STATES)
        states.set({ service, state }, views.filter((view) => view.state === state).length)
    }
    age.set(lostAt === undefined ? 0 : (performance.now() - lostAt) / 1_000)
  }

  const following = followMesh(
    {
      targets: registryTargets,
      transport,
      logger,
      onState: apply,
      onLost: () => {
        lostAt ??= performance.now()
      },
    },
    ended.signal,
  )
  const observation = setInterval(observe, OBSERVE_MS).unref()

  return {
    client: (definition, service) =>
      createClient(definition, serviceOf(service).channel.call, [clientMetrics]),
    register: (registration, onReplaced) =>
      register(registration, { targets: registryTargets, transport, logger, onReplaced }),
    endpoints: (service) => serviceOf(service).endpoints.list(),
    breakers: () =>
      [...services].flatMap(([service, { channel }]) =>
        [...channel.breakers()].map(([methodClass, breaker]) => ({
          service,
          methodClass,
          snapshot: breaker.snapshot(),
        })),
      ),
    synced: synced.promise,
    async close() {
      ended.abort()
      clearInterval(observation)
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
