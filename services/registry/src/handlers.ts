import {
  type GetStatusResponse,
  type RegistryServiceDefinition,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import {
  type Encoded,
  encodeOnce,
  type Handlers,
  type Page,
  type PageRequest,
  pageFrom,
  readPage,
  rpcError,
} from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import { createCircuits } from './circuits.ts'
import type { Incident } from './incident.ts'
import { leaseHandlers } from './lease-handlers.ts'
import type { Registry } from './registry.ts'
import type { Update } from './updates.ts'
import { instance, updateMessage, watchFrom } from './wire.ts'

export interface HandlerOptions {
  /** What GetStatus says of the parts around the memory; default nothing. */
  readonly status?: () => Partial<Pick<GetStatusResponse, 'replicating' | 'peers' | 'xdsStreams'>>
  /** Hears of what callers report. */
  readonly onIncident?: (incident: Incident) => void
}

/** RegistryService without its policies: wire ↔ domain. */
export function registryHandlers(
  registry: Registry,
  metrics: Metrics,
  { status, onIncident = () => {} }: HandlerOptions = {},
): Handlers<typeof RegistryServiceDefinition> {
  const watchers = metrics.gauge('docmesh_registry_watchers')
  const encode = updateEncoder(registry.epoch, metrics)
  const circuits = createCircuits(registry)

  return {
    ...leaseHandlers(registry, metrics, { circuits, onIncident }),
    async *watch(request, { signal }) {
      const { epoch, fromRevision, options } = watchFrom(request)
      watchers.inc()
      try {
        for await (const update of registry.watch(epoch, fromRevision, signal, options)) yield encode(update)
      } finally {
        watchers.dec()
      }
      if (!signal.aborted) throw rpcError('SHUTTING_DOWN', 'This replica of the registry is ending.')
    },
    async acknowledgeRevision({ watcherId, epoch, revision }) {
      registry.acknowledge(watcherId, epoch, revision)
      return {}
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
        quarantine: registry.quarantine(),
        massExpiryGuard: registry.guarded(),
        policiesPending: registry.policiesPending(),
        acknowledgedRevision: registry.acknowledged(),
        breakers: [...circuits.list()],
        ...status?.(),
      }
    },
  }
}

/** A page of items that are sorted by their key. */
function pageOf<T>(sorted: readonly T[], keyOf: (item: T) => string, request: PageRequest): Page<T> {
  const { size, after } = readPage(request, () => true)
  return pageFrom(after === '' ? sorted : sorted.filter((item) => keyOf(item) > after), size, keyOf)
}

/** Watchers that need the same update are given the same object: its bytes live as long as it does. */
function updateEncoder(epoch: string, metrics: Metrics): (update: Update) => Encoded<WatchResponse> {
  const count = metrics.counter('docmesh_registry_updates_encoded_total')
  const made = new WeakMap<Update, Encoded<WatchResponse>>()
  return (update) => {
    const known = made.get(update)
    if (known) return known
    const encoded = encodeOnce(WatchResponse, updateMessage(epoch, update))
    count.inc({ kind: update.kind })
    made.set(update, encoded)
    return encoded
  }
}
