import {
  type Instance,
  InstanceHealth,
  InstanceState,
  type WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import { table } from './table.ts'
import { durationMs, plain, timeText } from './text.ts'

export const STATES: Readonly<Record<InstanceState, string>> = {
  [InstanceState.UNSPECIFIED]: '-',
  [InstanceState.STARTING]: 'starting',
  [InstanceState.SERVING]: 'serving',
  [InstanceState.SUSPECT]: 'suspect',
  [InstanceState.DRAINING]: 'draining',
}

export const HEALTHS: Readonly<Record<InstanceHealth, string>> = {
  [InstanceHealth.UNSPECIFIED]: '-',
  [InstanceHealth.UNKNOWN]: 'not checked yet',
  [InstanceHealth.HEALTHY]: 'healthy',
  [InstanceHealth.DEGRADED]: 'degraded',
  [InstanceHealth.UNHEALTHY]: 'unhealthy',
}

const HEAD = ['SERVICE', 'INSTANCE', 'STATE', 'HEALTH', 'VERSION', 'ZONE', 'WEIGHT', 'CHECKED IN', 'ADDRESS']

export const meshInstances = (instances: readonly Instance[]): string =>
  table(
    HEAD,
    instances.map(({ registration, state, health, responseTime }) => {
      const ms = durationMs(responseTime)
      return [
        registration?.service ?? '-',
        registration?.instanceId ?? '-',
        STATES[state],
        HEALTHS[health],
        registration?.version || '-',
        registration?.zone || '-',
        String(registration?.weight || 100),
        ms === undefined ? '-' : `${ms.toFixed(1)} ms`,
        registration?.address ?? '-',
      ]
    }),
  )

/** Turns updates of a watch into a line for each thing that changed. */
export function meshNews(clock: () => Date): (update: WatchResponse) => string {
  const known = new Map<string, Instance>()

  function changed(instance: Instance): string {
    const { instanceId = '', service = '', version, address } = instance.registration ?? {}
    const before = known.get(instanceId)
    known.set(instanceId, instance)
    const now = `${STATES[instance.state]}, ${HEALTHS[instance.health]}`
    if (!before) return `joined   ${service} ${instanceId} ${version || '-'} ${address} (${now})`
    return `changed  ${service} ${instanceId} (${STATES[before.state]}, ${HEALTHS[before.health]} -> ${now})`
  }

  function left(instanceId: string): string[] {
    const before = known.get(instanceId)
    return known.delete(instanceId) ? [`left     ${before?.registration?.service} ${instanceId}`] : []
  }

  return ({ update, revision }) => {
    const lines: string[] = []
    if (update?.$case === 'snapshot') {
      const listed = new Set(update.value.instances.map(({ registration }) => registration?.instanceId))
      lines.push(...[...known.keys()].filter((id) => !listed.has(id)).flatMap(left))
      lines.push(...update.value.instances.map(changed))
      lines.push(...update.value.policies.map(({ service }) => `policy   ${service}`))
    } else if (update) {
      lines.push(...update.value.changedInstances.map(changed))
      lines.push(...update.value.removedInstanceIds.flatMap(left))
      lines.push(...update.value.changedPolicies.map(({ service }) => `policy   ${service}`))
      lines.push(...update.value.removedPolicies.map((service) => `policy   ${service} is the default again`))
    }
    return lines.map((line) => `${timeText(clock())}  ${revision}  ${plain(line)}\n`).join('')
  }
}
