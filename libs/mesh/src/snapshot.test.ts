import {
  Instance,
  InstanceState,
  TrafficPolicy,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { applyUpdate, EMPTY_MESH, type MeshState } from './snapshot.ts'

const EPOCH = 'e1'

const instance = (instanceId: string, version: string) =>
  Instance.fromPartial({ registration: { instanceId, version }, state: InstanceState.SERVING })

const snapshot = (epoch: string, revision: number, instances: Instance[]) =>
  WatchResponse.fromPartial({
    epoch,
    revision: BigInt(revision),
    update: { $case: 'snapshot', value: { instances } },
  })

const delta = (revision: number, changedInstances: Instance[], removedInstanceIds: string[]) =>
  WatchResponse.fromPartial({
    epoch: EPOCH,
    revision: BigInt(revision),
    update: { $case: 'delta', value: { changedInstances, removedInstanceIds } },
  })

const apply = (state: MeshState, responses: WatchResponse[]): MeshState =>
  responses.reduce(applyUpdate, state)

it('a snapshot and the deltas after it make the same state as a snapshot of the end', () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd')
  const change = fc.record({
    changed: fc.uniqueArray(fc.tuple(id, fc.string({ maxLength: 3 })), {
      selector: ([key]) => key,
      maxLength: 3,
    }),
    removed: fc.uniqueArray(id, { maxLength: 2 }),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), fc.nat(20), (changes, from) => {
      const mesh = new Map<string, Instance>()
      const at = new Map<number, MeshState>([[0, apply(EMPTY_MESH, [snapshot(EPOCH, 0, [])])]])
      const deltas = changes.map(({ changed, removed }, index) => {
        const gone = removed.filter((key) => !changed.some(([other]) => other === key))
        for (const [key, version] of changed) mesh.set(key, instance(key, version))
        for (const key of gone) mesh.delete(key)
        at.set(index + 1, apply(EMPTY_MESH, [snapshot(EPOCH, index + 1, [...mesh.values()])]))
        return delta(
          index + 1,
          changed.map(([key, version]) => instance(key, version)),
          gone,
        )
      })
      const begin = Math.min(from, changes.length)
      const state = apply(at.get(begin) ?? EMPTY_MESH, deltas.slice(begin))
      expect(state).toEqual(at.get(changes.length))
    }),
  )
})

it('a snapshot replaces everything, of whatever epoch', () => {
  const before = apply(EMPTY_MESH, [snapshot(EPOCH, 9, [instance('a', '1'), instance('b', '1')])])
  const after = applyUpdate(before, snapshot('e2', 1, [instance('c', '2')]))
  expect(after).toEqual({
    epoch: 'e2',
    revision: 1n,
    instances: new Map([['c', instance('c', '2')]]),
    policies: new Map(),
  })
})

it('an empty delta moves only the revision', () => {
  const before = apply(EMPTY_MESH, [snapshot(EPOCH, 9, [instance('a', '1')])])
  expect(applyUpdate(before, delta(12, [], []))).toEqual({ ...before, revision: 12n })
})

it('a state that was handed out does not change with the next update', () => {
  const before = apply(EMPTY_MESH, [snapshot(EPOCH, 1, [instance('a', '1')])])
  applyUpdate(before, delta(2, [instance('b', '1')], ['a']))
  expect([...before.instances.keys()]).toEqual(['a'])
})

it('an instance without a registration is left out', () => {
  const state = applyUpdate(EMPTY_MESH, snapshot(EPOCH, 1, [Instance.fromPartial({}), instance('a', '1')]))
  expect([...state.instances.keys()]).toEqual(['a'])
})

const policy = (service: string, etag: string) => TrafficPolicy.fromPartial({ service, etag })

const withPolicies = (...policies: TrafficPolicy[]): MeshState => ({
  ...EMPTY_MESH,
  policies: new Map(policies.map((each) => [each.service, each])),
})

const etags = ({ policies }: MeshState): Record<string, string> =>
  Object.fromEntries([...policies].map(([service, { etag }]) => [service, etag]))

it('a snapshot replaces the policies', () => {
  const value = { policies: [policy('b', '1')] }
  const response = WatchResponse.fromPartial({ epoch: EPOCH, update: { $case: 'snapshot', value } })
  expect(etags(applyUpdate(withPolicies(policy('a', '1')), response))).toEqual({ b: '1' })
})

it('a snapshot of a replica that has not read the policies yet leaves them', () => {
  const value = { policiesPending: true }
  const response = WatchResponse.fromPartial({ epoch: 'e2', update: { $case: 'snapshot', value } })
  expect(etags(applyUpdate(withPolicies(policy('a', '1')), response))).toEqual({ a: '1' })
})

it('a delta of policies changes those that it names, and no instance', () => {
  const before = {
    ...withPolicies(policy('a', '1'), policy('b', '1'), policy('c', '1')),
    instances: new Map([['i', instance('i', '1')]]),
  }
  const value = { changedPolicies: [policy('b', '2'), policy('d', '1')], removedPolicies: ['c'] }
  const response = WatchResponse.fromPartial({ epoch: EPOCH, update: { $case: 'delta', value } })
  const after = applyUpdate(before, response)
  expect(etags(after)).toEqual({ a: '1', b: '2', d: '1' })
  expect(after.instances).toEqual(before.instances)
})

it('a state from disk is no more one once a registry has answered', () => {
  const saved = { ...EMPTY_MESH, savedAt: new Date(0) }
  expect(applyUpdate(saved, snapshot(EPOCH, 1, [])).savedAt).toBeUndefined()
})
