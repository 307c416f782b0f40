import { expect, it } from 'vitest'
import { createCircuits } from './circuits.ts'
import type { Incident, IncidentName } from './incident.ts'
import { fresh, named } from './registry.fixture.ts'

const told = (kind: IncidentName, fields: Partial<Incident> = {}): Incident => ({
  kind,
  at: new Date(1_000),
  callerService: 'analysis',
  callerInstanceId: 'a1',
  service: 'document',
  instanceId: '',
  methodClass: 'read',
  reason: 'failure_rate',
  ...fields,
})

it('knows the circuits that are not closed, in the state that their callers told of last', () => {
  const circuits = createCircuits(fresh().registry)
  circuits.note(told('circuit_opened'))
  circuits.note(told('circuit_opened', { methodClass: 'write' }))
  circuits.note(told('circuit_half_opened', { at: new Date(2_000) }))
  circuits.note(told('endpoint_ejected', { methodClass: '' }))
  const caller = { callerService: 'analysis', callerInstanceId: 'a1', service: 'document' }
  expect(circuits.list()).toEqual([
    { ...caller, methodClass: 'write', state: 'OPEN', changedAt: new Date(1_000) },
    { ...caller, methodClass: 'read', state: 'HALF_OPEN', changedAt: new Date(2_000) },
  ])
  circuits.note(told('circuit_closed'))
  expect(circuits.list()).toMatchObject([{ methodClass: 'write' }])
})

it('forgets the circuits of a caller that left, and the oldest when there are too many', () => {
  const { registry } = fresh()
  const circuits = createCircuits(registry, { limit: 2 })
  const { token } = registry.register(named('a1', { service: 'analysis' }), 'serving', {})
  for (const callerInstanceId of ['a0', 'a1', 'a2'])
    circuits.note(told('circuit_opened', { callerInstanceId }))
  expect(circuits.list().map(({ callerInstanceId }) => callerInstanceId)).toEqual(['a1', 'a2'])
  registry.deregister('a1', 1n, token)
  expect(circuits.list().map(({ callerInstanceId }) => callerInstanceId)).toEqual(['a2'])
})
