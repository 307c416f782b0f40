import {
  InstanceState,
  type RegisterRequest,
  type Registration,
  type RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import {
  durationOf,
  type Handlers,
  invalidRequest,
  type Page,
  type PageRequest,
  pageFrom,
  readPage,
  rpcError,
} from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Registry } from './registry.ts'
import { descriptionFrom, instance, stateFrom, updateMessage } from './wire.ts'

/** RegistryService: wire ↔ domain. */
export function registryHandlers(
  registry: Registry,
  metrics: Metrics,
): Handlers<typeof RegistryServiceDefinition> {
  const watchers = metrics.gauge('docmesh_registry_watchers')
  const lease = (revision: bigint) => ({
    ttl: durationOf(registry.leaseTtlMs),
    heartbeatInterval: durationOf(registry.leaseTtlMs / 3),
    revision,
  })

  return {
    async *register(requests) {
      const session = {}
      let registered: Registration | undefined
      try {
        for await (const { message } of requests as AsyncIterable<RegisterRequest>) {
          if (message?.$case === 'registration') {
            registered = message.value
            const { revision } = registry.register(
              descriptionFrom(registered),
              stateFrom(registered.state),
              session,
            )
            yield { message: { $case: 'lease', value: lease(revision) } }
          } else if (message?.$case === 'heartbeat' && registered) {
            const { state } = message.value
            const known = state === InstanceState.UNSPECIFIED ? undefined : stateFrom(state)
            registry.renew(registered.instanceId, registered.incarnation, known)
            yield { message: { $case: 'renewed', value: { ttl: durationOf(registry.leaseTtlMs) } } }
          } else {
            throw invalidRequest([
              { field: 'message', description: 'send `registration` first, then `heartbeat`' },
            ])
          }
        }
      } finally {
        registry.detach(session)
      }
    },
    async renew({ instanceId, incarnation }) {
      return { lease: lease(registry.renew(instanceId, incarnation).revision) }
    },
    async deregister({ instanceId, incarnation }) {
      registry.deregister(instanceId, incarnation)
      return { revision: registry.revision() }
    },
    async *watch({ services, epoch, fromRevision }, { signal }) {
      const wanted = services.length > 0 ? new Set(services) : undefined
      watchers.inc()
      try {
        for await (const update of registry.watch(epoch, fromRevision, signal)) {
          yield updateMessage(registry.epoch, update, wanted)
        }
      } finally {
        watchers.dec()
      }
      if (!signal.aborted) throw rpcError('SHUTTING_DOWN', 'This replica of the registry is ending.')
    },
    async listServices(request) {
      const groups = Map.groupBy(registry.members(), ({ service }) => service)
      const { items, nextPageToken } = pageOf([...groups.keys()].sort(), (name) => name, request)
      return {
        nextPageToken,
        services: items.map((service) => {
          const members = groups.get(service) ?? []
          return {
            service,
            instances: members.length,
            available: members.filter(({ state, health }) => state === 'serving' && health !== 'unhealthy')
              .length,
            versions: [...new Set(members.map(({ version }) => version))].sort(),
          }
        }),
      }
    },
    async listInstances(request) {
      const key = (member: { service: string; instanceId: string }) =>
        `${member.service}/${member.instanceId}`
      const members = registry
        .members()
        .filter(({ service }) => request.service === '' || service === request.service)
        .sort((a, b) => (key(a) < key(b) ? -1 : 1))
      const { items, nextPageToken } = pageOf(members, key, request)
      return { instances: items.map(instance), nextPageToken }
    },
    async getStatus() {
      return {
        epoch: registry.epoch,
        revision: registry.revision(),
        watchers: registry.watchers(),
        instances: registry.members().length,
        startedAt: registry.startedAt,
      }
    },
  }
}

/** A page of items that are sorted by their key. */
function pageOf<T>(sorted: readonly T[], keyOf: (item: T) => string, request: PageRequest): Page<T> {
  const { size, after } = readPage(request, () => true)
  return pageFrom(after === '' ? sorted : sorted.filter((item) => keyOf(item) > after), size, keyOf)
}
