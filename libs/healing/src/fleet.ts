import type { RecoveryAction } from './recovery-action.ts'

/** A process or pod that can be mended. */
export interface FleetInstance {
  /** Unique in the fleet: `document-1`. */
  readonly name: string
  readonly service: string
}

/**
 * Whatever runs the instances: the supervisor of one machine, or a cluster. Every method resolves when it is done and
 * rejects with the reason when it cannot be; an unknown instance is a reason.
 */
export interface Fleet {
  instances(): Promise<readonly FleetInstance[]>
  /** Ends the instance, gracefully if it still listens, and starts it again; resolves when it takes calls. */
  restart(instance: string, signal: AbortSignal): Promise<void>
  /** Resolves with the name of the new instance when it takes calls; leaves nothing behind when it rejects. */
  add(service: string, signal: AbortSignal): Promise<string>
  /** Ends an instance for good, gracefully. */
  remove(instance: string, signal: AbortSignal): Promise<void>
  /** Makes the instance give back memory that it can do without. Resolves with what it gave back, for people. */
  clearCache(instance: string, signal: AbortSignal): Promise<string>
  /** Keeps callers away from the instance for `forMs`; it ends by itself. Never for the last one of a service. */
  openCircuit(instance: string, forMs: number, signal: AbortSignal): Promise<void>
}

export interface FleetActionOptions {
  /** Instances that a service may have before none is added. Default 8. */
  readonly maxInstances?: number
  /** Time for which a circuit is open. Default 30,000. */
  readonly circuitMs?: number
  /** An added instance goes when the check has passed for this long. Default ten minutes. */
  readonly removeAfterMs?: number
}

/** The actions that every fleet can do: restart, clear-cache, add-instance, open-circuit. */
export function fleetActions(
  fleet: Fleet,
  { maxInstances = 8, circuitMs = 30_000, removeAfterMs = 600_000 }: FleetActionOptions = {},
): readonly RecoveryAction[] {
  /** What was added for a target. */
  const added = new Map<string, string>()

  const restart: RecoveryAction = {
    name: 'restart',
    async execute(target, signal) {
      await fleet.restart(target, signal)
      return `restarted ${target}`
    },
  }
  const clearCache: RecoveryAction = {
    name: 'clear-cache',
    execute: (target, signal) => fleet.clearCache(target, signal),
  }
  const addInstance: RecoveryAction = {
    name: 'add-instance',
    undoAfterMs: removeAfterMs,
    async execute(target, signal) {
      const earlier = added.get(target)
      if (earlier !== undefined) return `${earlier} was added already`
      const all = await fleet.instances()
      const service = all.find(({ name }) => name === target)?.service
      if (service === undefined) throw new Error(`there is no instance ${target}`)
      const count = all.filter((each) => each.service === service).length
      if (count >= maxInstances) throw new Error(`${service} has ${count} instances, and may have no more`)
      const name = await fleet.add(service, signal)
      added.set(target, name)
      return `added ${name}`
    },
    async rollback(target, signal) {
      const name = added.get(target)
      if (name === undefined) return
      await fleet.remove(name, signal)
      added.delete(target)
    },
  }
  const openCircuit: RecoveryAction = {
    name: 'open-circuit',
    async execute(target, signal) {
      await fleet.openCircuit(target, circuitMs, signal)
      return `kept callers from ${target} for ${circuitMs / 1_000} s`
    },
  }
  return [restart, clearCache, addInstance, openCircuit]
}
