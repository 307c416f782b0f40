import type { Fleet } from '@docmesh/healing'
import type { MendableProcess, ProcessSpec } from '../supervised-process.ts'
import type { Supervisor } from '../supervisor.ts'
import type { KeptPostgres } from './postgres.ts'

/** What the embedded database is called in checks and recoveries. */
export const POSTGRES = 'postgres'

export interface LocalFleetDeps {
  readonly supervisor: Pick<Supervisor, 'processes' | 'start' | 'remove'>
  /** Undefined when somebody else runs the database. */
  readonly postgres: KeptPostgres | undefined
  /** A process of `service` under a name that none has. */
  readonly specOf: (service: string, name: string) => ProcessSpec
  /** Tells callers that an instance takes no more calls. */
  readonly drain: (instanceId: string, signal: AbortSignal) => Promise<unknown>
}

/** The fleet of one machine: the processes of the supervisor, and the embedded database. */
export function localFleet({ supervisor, postgres, specOf, drain }: LocalFleetDeps): Fleet {
  function find(name: string): MendableProcess {
    const found = supervisor.processes().find(({ spec }) => spec.name === name)
    if (!found) throw new Error(`there is no instance ${name}`)
    return found
  }

  function freeName(service: string): string {
    const taken = new Set(supervisor.processes().map(({ spec }) => spec.name))
    for (let number = 2; ; number++) {
      const name = `${service}-${number}`
      if (!taken.has(name)) return name
    }
  }

  const others = ({ spec }: MendableProcess): boolean =>
    supervisor
      .processes()
      .some(
        (each) => each.spec.service === spec.service && each.spec !== spec && each.state().kind === 'ready',
      )

  return {
    async instances() {
      const processes = supervisor.processes().map(({ spec: { name, service } }) => ({ name, service }))
      return postgres ? [...processes, { name: POSTGRES, service: POSTGRES }] : processes
    },
    async restart(name) {
      if (name === POSTGRES && postgres) return postgres.restart()
      const process = find(name)
      await process.restart()
      await process.takesCalls()
    },
    async add(service) {
      const spec = specOf(service, freeName(service))
      try {
        await supervisor.start([spec])
      } catch (error) {
        await supervisor.remove(find(spec.name))
        throw error
      }
      return spec.name
    },
    remove: async (name) => supervisor.remove(find(name)),
    async clearCache(name, signal) {
      const freedBytes = await find(name).giveBackMemory(signal)
      return `${name} gave back ${(freedBytes / 2 ** 20).toFixed(0)} MiB`
    },
    async openCircuit(name, forMs, signal) {
      const process = find(name)
      if (!others(process)) throw new Error(`${name} is the only instance of ${process.spec.service}`)
      const state = process.state()
      // A frozen instance cannot say itself that it goes; and if the registry does not hear, its callers notice.
      if (state.kind === 'ready' && state.instanceId) await drain(state.instanceId, signal).catch(() => {})
      signal.throwIfAborted()
      await process.restart(forMs)
    },
  }
}
