import { maxEjected } from '@docmesh/resilience'
import { fakeClock } from '@docmesh/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import type { Endpoint } from './endpoint.ts'
import { createEndpointSet, type Outcome, type Pick } from './endpoint-set.ts'

describe('whatever happens', () => {
  const MAX_PENDING = 3
  const ids = ['a', 'b', 'c', 'd', 'e']
  const endpoint = fc.record({
    instanceId: fc.constantFrom(...ids),
    zone: fc.constantFrom('', 'here', 'there'),
    version: fc.constantFrom('1', '2'),
    weight: fc.integer({ min: 1, max: 1_000 }),
    healthy: fc.boolean(),
    degraded: fc.boolean(),
    draining: fc.boolean(),
  })
  const step = fc.oneof(
    fc.record({
      do: fc.constant('update' as const),
      endpoints: fc.uniqueArray(endpoint, { selector: ({ instanceId }) => instanceId }),
    }),
    fc.record({
      do: fc.constant('pick' as const),
      options: fc.record(
        {
          avoid: fc.subarray(ids).map((some) => new Set(some)),
          version: fc.constantFrom('1', '2'),
          hashKey: fc.string({ maxLength: 2 }),
          mayProbe: fc.boolean(),
        },
        { requiredKeys: [] },
      ),
    }),
    fc.record({
      do: fc.constant('end' as const),
      outcome: fc.constantFrom<Outcome>('SUCCESS', 'ERROR', 'TRANSPORT', 'REFUSED', 'NONE'),
    }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 40_000 }) }),
    fc.record({
      do: fc.constant('check' as const),
      id: fc.constantFrom(...ids),
      healthy: fc.boolean(),
    }),
    fc.record({ do: fc.constant('sweep' as const) }),
  )
  const scene = fc.record({
    steps: fc.array(step, { maxLength: 100 }),
    seed: fc.integer(),
    zone: fc.constantFrom('', 'here'),
    subsetSize: fc.integer({ min: 1, max: 6 }),
  })

  function run({ steps, seed, zone, subsetSize }: typeof scene extends fc.Arbitrary<infer T> ? T : never) {
    const clock = fakeClock()
    let open: readonly Endpoint[] = []
    const set = createEndpointSet({
      now: clock.now,
      random: seededRandom(seed),
      zone,
      subsetSize,
      maxPending: MAX_PENDING,
      clientId: 'client',
      onEvent: ({ kind }) => {
        if (kind !== 'ejected') return
        const ejected = set.list().filter(({ state }) => state === 'ejected')
        expect(ejected.length).toBeLessThanOrEqual(maxEjected(open.length))
        expect(open.length).toBeGreaterThan(1)
      },
    })
    const running: Pick[] = []
    const picked: string[] = []
    for (const each of steps) {
      switch (each.do) {
        case 'update':
          open = each.endpoints
            .map(({ instanceId, ...fields }) => endpointNamed(instanceId, fields))
            .filter(({ draining }) => !draining)
          set.update(each.endpoints.map(({ instanceId, ...fields }) => endpointNamed(instanceId, fields)))
          break
        case 'pick': {
          const { version, avoid } = each.options
          const allowed = open.filter((one) => version === undefined || one.version === version)
          const before = new Map(set.list().map((view) => [view.endpoint.instanceId, view]))
          const hasRoom = (id: string) => (before.get(id)?.pending ?? 0) < MAX_PENDING
          const pick = set.pick(each.options)
          expect(pick === 'no_endpoint').toBe(allowed.length === 0)
          if (pick === 'no_endpoint') break
          const usable = allowed.filter(({ instanceId }) => before.get(instanceId)?.state === 'ready')
          if (pick === 'saturated') {
            // Nobody that is used for this call has room; who is not ready is no way out.
            expect(allowed.some(({ instanceId }) => !hasRoom(instanceId))).toBe(true)
            break
          }
          const id = pick.endpoint.instanceId
          expect(allowed.map(({ instanceId }) => instanceId)).toContain(id)
          expect(hasRoom(id)).toBe(true)
          expect(pick.loser?.instanceId).not.toBe(id)
          if (avoid?.has(id) && subsetSize >= ids.length)
            expect(usable.filter(({ instanceId }) => !avoid.has(instanceId) && hasRoom(instanceId))).toEqual(
              [],
            )
          picked.push(id)
          running.push(pick)
          break
        }
        case 'end':
          running.shift()?.done(each.outcome)
          break
        case 'wait':
          clock.advance(each.ms)
          break
        case 'check':
          set.setClientHealth(each.id, each.healthy)
          break
        case 'sweep':
          set.sweep()
      }
      expect(set.available()).toBeLessThanOrEqual(open.length)
    }
    return picked
  }

  it('a pick is open, has room, and is one to be avoided only when all others cannot; ejection keeps to its cap', () => {
    fc.assert(
      fc.property(scene, (each) => void run(each)),
      { numRuns: 400 },
    )
  })

  it('the same happens again with the same random numbers', () => {
    fc.assert(
      fc.property(scene, (each) => {
        expect(run(each)).toEqual(run(each))
      }),
      { numRuns: 50 },
    )
  })
})
