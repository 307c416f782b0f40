import type { SupervisedProcess } from '../supervised-process.ts'
import { durationText } from './text.ts'

type View = Pick<SupervisedProcess, 'spec' | 'state'>

/** `registry ready · document ×2 ready · analysis ×2 1 ready, 1 restarting · up 12 s` */
export function statusLine(processes: readonly View[], uptimeMs: number): string {
  const services = Map.groupBy(processes, ({ spec }) => spec.service)
  const parts = [...services].map(([service, instances]) => {
    const times = instances.length > 1 ? ` ×${instances.length}` : ''
    const states = [...Map.groupBy(instances, (instance) => instance.state().kind)]
    const summary =
      states.length === 1
        ? states[0]?.[0]
        : states.map(([kind, group]) => `${group.length} ${kind}`).join(', ')
    return `${service}${times} ${summary}`
  })
  return [...parts, `up ${durationText(Math.max(1_000, uptimeMs))}`].join(' · ')
}

/** One line about what just happened to a process; undefined when it is not worth one. */
export function changeLine({ spec, state }: View): string | undefined {
  const current = state()
  switch (current.kind) {
    case 'ready':
      return `${spec.name} ready on ${current.address}`
    case 'restarting':
      return `${spec.name} ended (${current.ended}); starting it again in ${durationText(current.delayMs)}; see ${spec.logFile}`
    default:
      return undefined
  }
}
