import { durationOf, invalidRequest } from '@docmesh/rpc'
import type { BreakerView, Mesh } from './mesh.ts'

export interface MeshViewRequest {
  /** Only what concerns this service; empty for all. */
  readonly service: string
  /** Most decisions and incidents, 0 to 1,000; 0 means 50. */
  readonly limit: number
}

const DEFAULT_LIMIT = 50
const MAX_LIMIT = 1_000

/**
 * The mesh as this process sees it, as `docmesh.ops.v1.GetMeshViewResponse`.
 *
 * @throws INVALID_REQUEST when `limit` is out of range.
 */
export function meshView(mesh: Mesh, { service, limit }: MeshViewRequest) {
  if (limit < 0 || limit > MAX_LIMIT)
    throw invalidRequest([{ field: 'limit', description: `0 to ${MAX_LIMIT}` }])
  const most = limit || DEFAULT_LIMIT
  const services = mesh.services().filter((name) => service === '' || name === service)
  const { epoch, revision, ageMs } = mesh.snapshot()
  return {
    epoch,
    revision,
    age: durationOf(ageMs),
    endpoints: services.flatMap((name) =>
      mesh.endpoints(name).map(({ endpoint, state, inUse, estimateMs, pending }) => ({
        service: name,
        instanceId: endpoint.instanceId,
        address: endpoint.address,
        version: endpoint.version,
        zone: endpoint.zone,
        state,
        estimate: durationOf(estimateMs),
        pending,
        inUse,
      })),
    ),
    breakers: mesh
      .breakers()
      .filter((breaker) => services.includes(breaker.service))
      .map(breakerInfo),
    decisions: services
      .flatMap((name) => mesh.decisions(name, most))
      .sort((a, b) => b.at.getTime() - a.at.getTime())
      .slice(0, most)
      .map(({ durationMs, ...decision }) => ({
        ...decision,
        ...(durationMs !== undefined && { duration: durationOf(durationMs) }),
      })),
    incidents: mesh
      .incidents(MAX_LIMIT)
      .filter((incident) => service === '' || incident.service === service)
      .slice(0, most)
      .map((incident) => ({ ...incident })),
  }
}

/** One circuit breaker as the diagnostics tell of it. */
export const breakerInfo = ({ service, methodClass, snapshot }: BreakerView) => ({
  name: `${service} ${methodClass}`,
  state: snapshot.state,
  ...(snapshot.state === 'CLOSED' ? { calls: snapshot.calls, failures: snapshot.failures } : {}),
  ...(snapshot.state === 'OPEN' ? { retryAt: new Date(Date.now() + snapshot.retryAfterMs) } : {}),
})
