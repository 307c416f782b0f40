import type { Logger, Metrics } from '@docmesh/telemetry'
import type { State } from './member.ts'
import type { Registry } from './registry.ts'

const STATES: readonly State[] = ['starting', 'serving', 'suspect', 'draining']

/** Logs and counts what happens to the mesh. */
export function observeRegistry(registry: Registry, metrics: Metrics, logger: Logger): void {
  const instances = metrics.gauge('docmesh_registry_instances')
  const revision = metrics.gauge('docmesh_registry_revision')
  registry.onChange((change) => {
    const { service, instanceId, address, state, version } = change.member
    const reason = change.kind === 'left' ? { reason: change.reason } : {}
    logger.info(
      { service, instance_id: instanceId, address, state, version, ...reason },
      `instance ${change.kind}`,
    )
    revision.set(Number(registry.revision()))
    const ofService = registry.members().filter((member) => member.service === service)
    for (const each of STATES) {
      instances.set({ service, state: each }, ofService.filter((member) => member.state === each).length)
    }
  })
}
