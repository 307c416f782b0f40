import fc from 'fast-check'
import { expect, it } from 'vitest'
import { seededRandom } from '../../../libs/mesh/src/endpoint.fixture.ts'
import { planKills } from './kills.ts'

const plan = (seed: number, kills = 20) =>
  planKills(kills, { analyses: 200, instances: 2, random: seededRandom(seed) })

it('kills each service as often as the others, an instance that there is, while work is left', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const kills = plan(seed)
      const times = Map.groupBy(kills, ({ service }) => service)
      expect([...times.values()].map(({ length }) => length)).toEqual([5, 5, 5, 5])
      for (const { instance, afterEnded } of kills) {
        expect([0, 1]).toContain(instance)
        expect(afterEnded).toBeLessThan(150)
      }
    }),
  )
})

it('kills in the order in which the moments come', () => {
  const moments = plan(3).map(({ afterEnded }) => afterEnded)
  expect(moments).toEqual(moments.toSorted((a, b) => a - b))
})

it('gives the same plan for the same seed, and another one for another', () => {
  expect(plan(1)).toEqual(plan(1))
  expect(plan(1)).not.toEqual(plan(2))
})
