import { expect, it } from 'vitest'
import { type Fleet, fleetActions } from './fleet.ts'
import { FLEET_STRATEGIES, strategyFor } from './strategy.ts'

it('takes the first strategy that fits the name and the criticality', () => {
  const strategies = [
    { check: 'memory', steps: [['a']], escalation: 'medium' },
    { criticality: 'critical', steps: [['b']], escalation: 'critical' },
    { steps: [['c']], escalation: 'low' },
  ] as const
  const steps = (name: string, criticality: 'low' | 'critical') =>
    strategyFor(strategies, { name, criticality }).steps
  expect(steps('memory', 'critical')).toEqual([['a']])
  expect(steps('other', 'critical')).toEqual([['b']])
  expect(steps('other', 'low')).toEqual([['c']])
  expect(strategyFor([], { name: 'x', criticality: 'low' })).toEqual({ steps: [], escalation: 'low' })
})

it('names only actions that a fleet can do, and clears before it adds when memory is short', () => {
  const known = fleetActions({} as Fleet).map(({ name }) => name)
  const named = FLEET_STRATEGIES.flatMap(({ steps }) => steps.flat())
  expect(known).toEqual(expect.arrayContaining([...new Set(named)]))
  const { steps, escalation } = strategyFor(FLEET_STRATEGIES, { name: 'memory', criticality: 'medium' })
  expect([steps.flat().slice(0, 2), escalation]).toEqual([['clear-cache', 'add-instance'], 'medium'])
})
