import { expect, it } from 'vitest'
import { type Fleet, type FleetInstance, fleetActions } from './fleet.ts'

const signal = new AbortController().signal

/** A fleet in memory. */
function fleetOf(...names: string[]) {
  const log: string[] = []
  let instances: FleetInstance[] = names.map((name) => ({ name, service: name.replace(/-\d+$/, '') }))
  const fleet: Fleet = {
    instances: async () => instances,
    restart: async (instance) => void log.push(`restart ${instance}`),
    async add(service) {
      const name = `${service}-${instances.length + 1}`
      instances = [...instances, { name, service }]
      return name
    },
    async remove(instance) {
      instances = instances.filter(({ name }) => name !== instance)
    },
    clearCache: async (instance) => `${instance} gave back 5 MiB`,
    openCircuit: async (instance, forMs) => void log.push(`open ${instance} ${forMs}`),
  }
  return { fleet, log, names: () => instances.map(({ name }) => name) }
}

const actionsOf = (fleet: Fleet, maxInstances?: number) => {
  const actions = fleetActions(fleet, maxInstances === undefined ? {} : { maxInstances })
  return (name: string) => {
    const found = actions.find((action) => action.name === name)
    if (!found) throw new Error(name)
    return found
  }
}

it('adds one instance of the service of the target, and takes back that one', async () => {
  const { fleet, names } = fleetOf('document-1', 'analysis-1')
  const add = actionsOf(fleet)('add-instance')
  expect(await add.execute('document-1', signal)).toBe('added document-3')
  expect(await add.execute('document-1', signal)).toBe('document-3 was added already')
  await add.rollback?.('document-1', signal)
  await add.rollback?.('document-1', signal)
  expect(names()).toEqual(['document-1', 'analysis-1'])
})

it('adds no instance above the cap, nor to a target that is none', async () => {
  const { fleet, names } = fleetOf('document-1', 'document-2')
  const add = actionsOf(fleet, 2)('add-instance')
  await expect(add.execute('document-1', signal)).rejects.toThrow('document has 2 instances')
  await expect(add.execute('disk', signal)).rejects.toThrow('there is no instance disk')
  expect(names()).toEqual(['document-1', 'document-2'])
})

it('restarts, clears and cuts off the target, and says so', async () => {
  const { fleet, log } = fleetOf('document-1')
  const action = actionsOf(fleet)
  expect(await action('restart').execute('document-1', signal)).toBe('restarted document-1')
  expect(await action('clear-cache').execute('document-1', signal)).toBe('document-1 gave back 5 MiB')
  expect(await action('open-circuit').execute('document-1', signal)).toBe(
    'kept callers from document-1 for 30 s',
  )
  expect(log).toEqual(['restart document-1', 'open document-1 30000'])
})
