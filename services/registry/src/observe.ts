import type { Logger, Metrics } from '@docmesh/telemetry'
import type { Change } from './change.ts'
import type { State } from './member.ts'
import type { Registry } from './registry.ts'

const STATES: readonly State[] = ['starting', 'serving', 'suspect', 'draining']

/** Logs and counts what happens to the mesh. `refresh` is for what changes by time alone. */
export function observeRegistry(
  registry: Registry,
  metrics: Metrics,
  logger: Logger,
): { readonly refresh: () => void } {
  const instances = metrics.gauge('docmesh_registry_instances')
  const revision = metrics.gauge('docmesh_registry_revision')
  const departures = metrics.counter('docmesh_registry_departures_total')
  const quarantine = metrics.gauge('docmesh_registry_quarantine')
  const guard = metrics.gauge('docmesh_registry_expiry_guard')

  function observe(change: Change): void {
    switch (change.kind) {
      case 'guard': {
        const { active, expired, instances } = change
        guard.set(active ? 1 : 0)
        if (active) logger.warn({ expired, instances }, 'too many leases ran out at once: none is delisted')
        else logger.info({ expired, instances }, 'leases run out again')
        return
      }
      case 'policy':
        logger.info({ service: change.service }, 'traffic policy changed')
        return
      case 'policies_read':
      case 'settled':
        return
      default: {
        const { service, instanceId, address, state, version } = change.member
        const reason = change.kind === 'left' ? { reason: change.reason } : {}
        if (change.kind === 'left') departures.inc({ reason: change.reason })
        logger.info(
          { service, instance_id: instanceId, address, state, version, ...reason },
          `instance ${change.kind}`,
        )
        const ofService = registry.members().filter((member) => member.service === service)
        for (const each of STATES) {
          instances.set({ service, state: each }, ofService.filter((member) => member.state === each).length)
        }
      }
    }
  }

  registry.onChange((change) => {
    observe(change)
    revision.set(Number(registry.revision()))
  })
  const refresh = (): void => quarantine.set(registry.quarantine() ? 1 : 0)
  refresh()
  return { refresh }
}
