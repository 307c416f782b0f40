import { LifecycleState } from '@docmesh/contracts/ops/v1/diagnostics'
import { expect, it } from 'vitest'
import { createLifecycle } from './lifecycle.ts'

const { INITIALIZING, STARTING, READY } = LifecycleState

it('a lifecycle begins as initializing and remembers how it came where it is', () => {
  let at = 0
  const lifecycle = createLifecycle(() => new Date(at++))
  expect(lifecycle.state()).toBe(INITIALIZING)
  lifecycle.enter(STARTING, 'environment read')
  lifecycle.enter(READY, 'listening')
  expect(lifecycle.state()).toBe(READY)
  expect(lifecycle.history()).toEqual([
    { state: INITIALIZING, at: new Date(0), reason: 'process started' },
    { state: STARTING, at: new Date(1), reason: 'environment read' },
    { state: READY, at: new Date(2), reason: 'listening' },
  ])
})

it('a lifecycle keeps the newest transitions up to its limit', () => {
  const lifecycle = createLifecycle(() => new Date(0), 3)
  for (let i = 0; i < 10; i++) lifecycle.enter(READY, String(i))
  expect(lifecycle.history().map(({ reason }) => reason)).toEqual(['7', '8', '9'])
})
