import { expect, it } from 'vitest'
import { fakeClock } from './fake-clock.ts'

it('runs timers in order of their time, each at its own moment', () => {
  const clock = fakeClock(1_000)
  const seen: string[] = []
  clock.setTimeout(() => seen.push(`b at ${clock.now()}`), 20)
  clock.setTimeout(() => seen.push(`a at ${clock.now()}`), 10)
  clock.setTimeout(() => seen.push(`c at ${clock.now()}`), 20)
  clock.advance(15)
  expect(seen).toEqual(['a at 1010'])
  clock.advance(5)
  expect(seen).toEqual(['a at 1010', 'b at 1020', 'c at 1020'])
})

it('runs a timer that another timer sets, when it falls due in the same advance', () => {
  const clock = fakeClock()
  const seen: number[] = []
  const tick = (): void => {
    seen.push(clock.now())
    clock.setTimeout(tick, 10)
  }
  clock.setTimeout(tick, 10)
  clock.advance(35)
  expect(seen).toEqual([10, 20, 30])
  expect(clock.now()).toBe(35)
})

it('never runs a cleared timer', () => {
  const clock = fakeClock()
  const seen: number[] = []
  const timer = clock.setTimeout(() => seen.push(1), 10)
  timer.clear()
  clock.advance(100)
  expect(seen).toEqual([])
  expect(clock.pending()).toBe(0)
})
