import type { Connection } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import type { AdmissionOptions } from './admission.ts'
import { type Channel, createChannel, type Sharing } from './channel.ts'
import { type ClientHealth, createClientHealth } from './client-health.ts'
import type { Endpoint } from './endpoint.ts'
import { createEndpointSet, type EndpointEvent, type EndpointSet, type EndpointView } from './endpoint-set.ts'
import type { IncidentLog } from './incident.ts'
import type { CompiledPolicy } from './traffic-policy.ts'

/** What all who send to a service from this process share, for transports that send by themselves. */
export interface SharedService extends Sharing {
  readonly endpoints: EndpointSet
  /** The traffic policy in force. */
  readonly policy: () => CompiledPolicy
}

/** One service that this process calls. */
export interface CalledService {
  readonly channel: Channel
  readonly shared: SharedService
  /** Replaces the endpoints. */
  update(endpoints: readonly Endpoint[]): void
  /** Listens to the health of the endpoints in use, over the connections that calls use. */
  listen(): void
  /** Tells the metrics how many endpoints are in which state. */
  observe(): void
  close(): void
}

export interface CalledServiceDeps {
  readonly name: string
  readonly zone: string
  readonly clientId: string
  readonly admission: AdmissionOptions
  readonly policy: () => CompiledPolicy
  readonly connectionTo: (address: string) => Connection
  readonly synced: Promise<void>
  readonly incidents: IncidentLog
  readonly metrics: Metrics
  readonly logger: Logger
}

const STATES: readonly EndpointView['state'][] = ['ready', 'ejected', 'unhealthy', 'draining']

export function createCalledService(deps: CalledServiceDeps): CalledService {
  const { name: service, zone, clientId, policy, connectionTo, incidents, metrics, logger } = deps
  const ejections = metrics.counter('docmesh_mesh_ejections_total')
  const states = metrics.gauge('docmesh_mesh_endpoints')
  const panic = metrics.gauge('docmesh_mesh_panic').labels({ service })
  const now = (): number => performance.now()
  const random = Math.random
  const endpoints = createEndpointSet({ now, random, zone, clientId, onEvent: tell })
  const channel = createChannel({ ...deps, service, endpoints, now, random }, deps.admission)
  let health: ClientHealth | undefined

  function tell(event: EndpointEvent): void {
    if (event.kind === 'panic') {
      panic.set(event.active ? 1 : 0)
      incidents.record({ kind: event.active ? 'panic_started' : 'panic_ended', service })
      return
    }
    const { instanceId, address } = event.endpoint
    const reason = event.kind === 'ejected' ? event.reason : ''
    if (event.kind === 'ejected') ejections.inc({ service, reason })
    incidents.record({ kind: `endpoint_${event.kind}`, service, instanceId, reason })
    logger.warn({ instance: { service, id: instanceId, address }, reason }, `endpoint ${event.kind}`)
  }

  function listenToThoseInUse(): void {
    const used = endpoints.list().filter(({ inUse }) => inUse)
    health?.update(used.map(({ endpoint }) => endpoint))
  }

  return {
    channel,
    shared: { ...channel.sharing, endpoints, policy },
    update(all) {
      endpoints.update(all)
      listenToThoseInUse()
    },
    listen() {
      health ??= createClientHealth({ connectionTo, onHealth: endpoints.setClientHealth })
      listenToThoseInUse()
    },
    observe() {
      const views = endpoints.list()
      for (const state of STATES)
        states.set({ service, state }, views.filter((view) => view.state === state).length)
      listenToThoseInUse() // an ejection may have changed the subset
    },
    close: () => health?.close(),
  }
}
