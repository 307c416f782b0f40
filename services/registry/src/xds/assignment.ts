import { HealthStatus } from '@docmesh/contracts/envoy/config/core/v3/health_check'
import { ClusterLoadAssignment } from '@docmesh/contracts/envoy/config/endpoint/v3/endpoint'
import type { Member } from '../member.ts'

/** A member that can be told to an xDS client: those take no host names. */
export interface Located {
  readonly member: Member
  readonly ip: string
  readonly port: number
}

const { HEALTHY, UNHEALTHY, DRAINING, UNKNOWN } = HealthStatus

export function healthOf({ state, health }: Member): HealthStatus {
  if (state === 'draining') return DRAINING
  return state === 'serving' && health !== 'unhealthy' ? HEALTHY : UNHEALTHY
}

/** The share of a member: 0 on the wire means 100. */
const weightOf = ({ weight }: Member): number => weight || 100

/**
 * The endpoints of a cluster by zone. A zone counts with the weight of its healthy endpoints, never with 0, because clients
 * forget a locality of weight 0; all zones have one priority. Clients call no unhealthy endpoint, so where none is healthy
 * the suspect ones are unknown: nobody said that they left, and a registry that is cut off must not end all calls.
 */
export function loadAssignment(clusterName: string, located: readonly Located[]): ClusterLoadAssignment {
  const isAnyHealthy = located.some(({ member }) => healthOf(member) === HEALTHY)
  const statusOf = (member: Member): HealthStatus =>
    member.state === 'suspect' && !isAnyHealthy ? UNKNOWN : healthOf(member)
  const zones = Map.groupBy(onePerAddress(located), ({ member }) => member.zone)
  return ClusterLoadAssignment.fromPartial({
    clusterName,
    endpoints: [...zones].sort(byKey).map(([zone, inZone]) => {
      const healthy = inZone.filter(({ member }) => healthOf(member) === HEALTHY)
      return {
        locality: { zone },
        loadBalancingWeight: Math.max(
          1,
          healthy.reduce((sum, { member }) => sum + weightOf(member), 0),
        ),
        lbEndpoints: inZone.map(({ member, ip, port }) => ({
          healthStatus: statusOf(member),
          loadBalancingWeight: weightOf(member),
          hostIdentifier: { $case: 'endpoint', value: { address: socketAddress(ip, port) } },
        })),
      }
    }),
  })
}

const socketAddress = (address: string, port: number) =>
  ({
    address: {
      $case: 'socketAddress',
      value: { address, portSpecifier: { $case: 'portValue', value: port } },
    },
  }) as const

/**
 * Clients refuse an assignment that names an address twice, as it is while a process that has restarted on its port is
 * listed next to its predecessor: the healthier one stays, of two equals the newer.
 */
function onePerAddress(located: readonly Located[]): Located[] {
  const preference = [HEALTHY, DRAINING, UNHEALTHY]
  const rank = ({ member }: Located): number => preference.indexOf(healthOf(member) as typeof HEALTHY)
  const best = new Map<string, Located>()
  for (const each of located) {
    const key = `${each.ip} ${each.port}`
    const known = best.get(key)
    const isBetter =
      !known ||
      rank(each) < rank(known) ||
      (rank(each) === rank(known) && each.member.registeredAt > known.member.registeredAt)
    if (isBetter) best.set(key, each)
  }
  return [...best].sort(byKey).map(([, each]) => each)
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1)
