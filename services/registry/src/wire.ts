// Registry messages ↔ domain, and the checks that make a message safe to believe.
import {
  IncidentKind,
  InstanceHealth,
  InstanceState,
  type MeshIncident,
  type Registration,
  type WatchRequest,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import { type Duration, durationOf, type FieldViolation, invalidRequest, msOf } from '@docmesh/rpc'
import type { Incident, IncidentName } from './incident.ts'
import type { Description, Health, Member, State } from './member.ts'
import { SERVICE_NAME } from './policy.ts'
import type { Update } from './updates.ts'

const ADDRESS = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([1-9]\d{0,4})$/
const MAX_PORT = 65_535
/** PostgreSQL keeps no NUL, and no list shows the others. */
const CONTROL = /\p{Cc}/u
const MAX_TEXT = 256
const MAX_LIST = 100
const MAX_WAIT_MS = 600_000

const isAddress = (text: string): boolean =>
  ADDRESS.test(text) && Number(text.slice(text.lastIndexOf(':') + 1)) <= MAX_PORT

/** @throws INVALID_REQUEST that names every wrong field. */
export function descriptionFrom(registration: Registration): Description {
  const { service, instanceId, incarnation, address, adminAddress, version, zone, weight } = registration
  const { grpcServices, dependencies, capabilities, labels } = registration
  const faults: FieldViolation[] = []
  const check = (ok: boolean, field: string, description: string): void => {
    if (!ok) faults.push({ field: `registration.${field}`, description })
  }
  check(
    SERVICE_NAME.test(service),
    'service',
    'lower-case letters, digits and hyphens, at most 63, beginning with a letter',
  )
  check(
    instanceId.length > 0 && instanceId.length <= MAX_TEXT && !CONTROL.test(instanceId),
    'instance_id',
    `1 to ${MAX_TEXT} characters, no control characters`,
  )
  check(incarnation >= 0n, 'incarnation', 'not negative')
  check(isAddress(address), 'address', 'host:port that callers can dial')
  check(adminAddress === '' || isAddress(adminAddress), 'admin_address', 'host:port or empty')
  check(version.length <= MAX_TEXT, 'version', `at most ${MAX_TEXT} characters`)
  check(zone.length <= MAX_TEXT, 'zone', `at most ${MAX_TEXT} characters`)
  check(weight >= 0 && weight <= 1_000, 'weight', '0 to 1000')
  for (const [field, values] of Object.entries({
    grpc_services: grpcServices,
    dependencies,
    capabilities,
    labels: Object.entries(labels).flat(),
  })) {
    check(
      values.length <= MAX_LIST && values.every((value) => value.length <= MAX_TEXT),
      field,
      `at most ${MAX_LIST} entries of ${MAX_TEXT} characters`,
    )
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return {
    service,
    instanceId,
    incarnation,
    address,
    adminAddress,
    version,
    zone,
    weight,
    grpcServices,
    dependencies,
    capabilities,
    labels,
  }
}

const STATES: Readonly<Record<State, InstanceState>> = {
  starting: InstanceState.STARTING,
  serving: InstanceState.SERVING,
  suspect: InstanceState.SUSPECT,
  draining: InstanceState.DRAINING,
}

const HEALTH: Readonly<Record<Health, InstanceHealth>> = {
  unknown: InstanceHealth.UNKNOWN,
  healthy: InstanceHealth.HEALTHY,
  degraded: InstanceHealth.DEGRADED,
  unhealthy: InstanceHealth.UNHEALTHY,
}

/** An instance may say that it starts, serves or drains; that it is suspect is for the registry to say. */
export function stateFrom(state: InstanceState): State {
  if (state === InstanceState.STARTING) return 'starting'
  if (state === InstanceState.SERVING) return 'serving'
  if (state === InstanceState.DRAINING) return 'draining'
  throw invalidRequest([{ field: 'state', description: 'write STARTING, SERVING or DRAINING' }])
}

export const instance = ({
  state,
  health,
  responseTimeMs,
  registeredAt,
  renewedAt,
  revision,
  ...description
}: Member) => ({
  registration: {
    ...description,
    grpcServices: [...description.grpcServices],
    dependencies: [...description.dependencies],
    capabilities: [...description.capabilities],
    state: STATES[state],
  },
  state: STATES[state],
  health: HEALTH[health],
  responseTime: responseTimeMs === undefined ? undefined : durationOf(responseTimeMs),
  registeredAt,
  renewedAt,
  revision,
})

export function updateMessage(epoch: string, update: Update): WatchResponse {
  const { revision } = update
  if (update.kind === 'snapshot') {
    const { members, policies, policiesPending } = update
    const value = { instances: members.map(instance), policies: [...policies], policiesPending }
    return WatchResponse.fromPartial({ epoch, revision, update: { $case: 'snapshot', value } })
  }
  const value = {
    changedInstances: update.changed.map(instance),
    removedInstanceIds: [...update.removed],
    changedPolicies: [...update.changedPolicies],
    removedPolicies: [...update.removedPolicies],
  }
  return WatchResponse.fromPartial({ epoch, revision, update: { $case: 'delta', value } })
}

/** @throws INVALID_REQUEST */
export function watchFrom({ services, watcherId, epoch, fromRevision }: WatchRequest) {
  const faults: FieldViolation[] = []
  if (services.length > MAX_LIST || !services.every((service) => SERVICE_NAME.test(service)))
    faults.push({ field: 'services', description: `at most ${MAX_LIST} names of services` })
  if (watcherId.length > MAX_TEXT)
    faults.push({ field: 'watcher_id', description: `at most ${MAX_TEXT} characters` })
  if (faults.length > 0) throw invalidRequest(faults)
  return {
    epoch,
    fromRevision,
    options: { watcherId, services: services.length > 0 ? [...new Set(services)].sort() : undefined },
  }
}

/** Milliseconds of an optional duration. @throws INVALID_REQUEST */
export function waitFrom(value: Duration | undefined, field: string): number | undefined {
  const ms = value && msOf(value)
  if (ms !== undefined && !(ms >= 0 && ms <= MAX_WAIT_MS))
    throw invalidRequest([{ field, description: `0 to ${MAX_WAIT_MS / 1_000} s` }])
  return ms
}

const INCIDENTS: Readonly<Record<number, IncidentName>> = {
  [IncidentKind.ENDPOINT_EJECTED]: 'endpoint_ejected',
  [IncidentKind.ENDPOINT_READMITTED]: 'endpoint_readmitted',
  [IncidentKind.CIRCUIT_OPENED]: 'circuit_opened',
  [IncidentKind.CIRCUIT_HALF_OPENED]: 'circuit_half_opened',
  [IncidentKind.CIRCUIT_CLOSED]: 'circuit_closed',
  [IncidentKind.PANIC_STARTED]: 'panic_started',
  [IncidentKind.PANIC_ENDED]: 'panic_ended',
}

/** @throws INVALID_REQUEST that names every wrong field. */
export function incidentFrom(message: MeshIncident, caller: Description): Incident {
  const { service, instanceId, methodClass, reason, at } = message
  const kind = INCIDENTS[message.kind]
  const faults: FieldViolation[] = []
  if (!kind) faults.push({ field: 'incident.kind', description: 'a kind that this version knows' })
  if (!SERVICE_NAME.test(service))
    faults.push({ field: 'incident.service', description: 'name of a service' })
  for (const [field, value] of Object.entries({ instance_id: instanceId, method_class: methodClass, reason }))
    if (value.length > MAX_TEXT)
      faults.push({ field: `incident.${field}`, description: `at most ${MAX_TEXT} characters` })
  if (!kind || faults.length > 0) throw invalidRequest(faults)
  return {
    kind,
    at: at ?? new Date(),
    callerService: caller.service,
    callerInstanceId: caller.instanceId,
    service,
    instanceId,
    methodClass,
    reason,
  }
}
