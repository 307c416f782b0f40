import { Instance, InstanceHealth, InstanceState } from '@docmesh/contracts/registry/v1/registry'
import { expect, it } from 'vitest'
import { endpointOf } from './endpoint.ts'

const seen = (state: InstanceState, health: InstanceHealth) => {
  const registration = { instanceId: 'i', address: 'h:1', version: '2', zone: 'z' }
  const { healthy, draining } = endpointOf(Instance.fromPartial({ registration, state, health })) ?? {}
  return { healthy, draining }
}

it.each([
  [InstanceState.SERVING, InstanceHealth.UNKNOWN, true, false],
  [InstanceState.SERVING, InstanceHealth.HEALTHY, true, false],
  [InstanceState.SERVING, InstanceHealth.DEGRADED, true, false],
  [InstanceState.SERVING, InstanceHealth.UNHEALTHY, false, false],
  [InstanceState.STARTING, InstanceHealth.HEALTHY, false, false],
  [InstanceState.SUSPECT, InstanceHealth.HEALTHY, false, false],
  [InstanceState.DRAINING, InstanceHealth.HEALTHY, false, true],
])('state %i with health %i is healthy %s, draining %s', (state, health, healthy, draining) => {
  expect(seen(state, health)).toEqual({ healthy, draining })
})

it('an instance that did not say what it is, is no endpoint', () => {
  expect(endpointOf(Instance.fromPartial({ state: InstanceState.SERVING }))).toBeUndefined()
})

it.each([
  [0, 100],
  [1, 1],
  [1_000, 1_000],
])('weight %i is taken as %i', (weight, taken) => {
  const registration = { instanceId: 'i', address: 'h:1', weight }
  expect(endpointOf(Instance.fromPartial({ registration }))?.weight).toBe(taken)
})

it('an instance that works but has said that it is degraded, is', () => {
  const registration = { instanceId: 'i', address: 'h:1' }
  const degraded = (health: InstanceHealth) =>
    endpointOf(Instance.fromPartial({ registration, health }))?.degraded
  expect(degraded(InstanceHealth.DEGRADED)).toBe(true)
  expect(degraded(InstanceHealth.HEALTHY)).toBe(false)
})
