// Registry messages ↔ domain, and the checks that make a message safe to believe.
import { InstanceHealth, InstanceState, type Registration } from '@docmesh/contracts/registry/v1/registry'
import { durationOf, type FieldViolation, invalidRequest } from '@docmesh/rpc'
import type { Description, Health, Member, State } from './member.ts'
import type { Update } from './registry.ts'

const SERVICE = /^[a-z][a-z0-9-]{0,62}$/
const ADDRESS = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([1-9]\d{0,4})$/
const MAX_TEXT = 256
const MAX_LIST = 100

/** @throws INVALID_REQUEST that names every wrong field. */
export function descriptionFrom(registration: Registration): Description {
  const { service, instanceId, incarnation, address, adminAddress, version, zone, weight } = registration
  const { grpcServices, dependencies, capabilities, labels } = registration
  const faults: FieldViolation[] = []
  const check = (ok: boolean, field: string, description: string): void => {
    if (!ok) faults.push({ field: `registration.${field}`, description })
  }
  check(
    SERVICE.test(service),
    'service',
    'lower-case letters, digits and hyphens, at most 63, beginning with a letter',
  )
  check(instanceId.length > 0 && instanceId.length <= MAX_TEXT, 'instance_id', `1 to ${MAX_TEXT} characters`)
  check(incarnation >= 0n, 'incarnation', 'not negative')
  check(ADDRESS.test(address), 'address', 'host:port that callers can dial')
  check(adminAddress === '' || ADDRESS.test(adminAddress), 'admin_address', 'host:port or empty')
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

export function updateMessage(epoch: string, update: Update, wanted: ReadonlySet<string> | undefined) {
  const fits = ({ service }: Member): boolean => wanted?.has(service) ?? true
  const { revision } = update
  if (update.kind === 'snapshot') {
    const instances = update.members.filter(fits).map(instance)
    return { epoch, revision, update: { $case: 'snapshot', value: { instances } } } as const
  }
  const value = {
    changedInstances: update.changed.filter(fits).map(instance),
    removedInstanceIds: [...update.removed],
  }
  return { epoch, revision, update: { $case: 'delta', value } } as const
}
