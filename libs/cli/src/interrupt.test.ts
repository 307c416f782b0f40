import { fakeClock } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { createInterrupt } from './interrupt.ts'

const setUp = () => {
  const clock = fakeClock()
  const interrupt = createInterrupt(clock.now)
  const insisted: string[] = []
  interrupt.onInsist(() => insisted.push('exit'))
  interrupt.onInsist(() => insisted.push('kill children'))
  return { clock, interrupt, insisted }
}

it('aborts on the first signal and says which it was', () => {
  const { interrupt, insisted } = setUp()
  interrupt.ask('SIGTERM')
  expect(interrupt.signal.reason.message).toBe('SIGTERM received')
  expect(insisted).toEqual([])
})

it('takes the same Ctrl-C passed on by npm for an echo', () => {
  const { clock, interrupt, insisted } = setUp()
  interrupt.ask('SIGINT')
  clock.advance(999)
  interrupt.ask('SIGINT')
  expect(insisted).toEqual([])
})

it('insists on a second Ctrl-C, last added first', () => {
  const { clock, interrupt, insisted } = setUp()
  interrupt.ask('SIGINT')
  clock.advance(1_000)
  interrupt.ask('SIGINT')
  expect(insisted).toEqual(['kill children', 'exit'])
})
