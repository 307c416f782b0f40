import { once } from 'node:events'
import { expect, it, vi } from 'vitest'
import { settlingPause, startLoop } from './loop.ts'

const HOUR_MS = 3_600_000
const fail = (error: Error) => {
  throw error
}

it('rests between steps until it is woken', async () => {
  const steps = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let count = 0
  const loop = startLoop(async () => {
    steps[count++]?.resolve()
    return HOUR_MS
  }, fail)
  await steps[0]?.promise
  loop.wake()
  await steps[1]?.promise
  await loop.close()
  expect(count).toBe(2)
})

it('runs again when it was woken during a step', async () => {
  let count = 0
  const again = Promise.withResolvers<void>()
  const loop = startLoop(async () => {
    count++
    if (count === 1) loop.wake()
    else again.resolve()
    return HOUR_MS
  }, fail)
  await again.promise
  await loop.close()
  expect(count).toBe(2)
})

it('closes when the step under way has ended, and tells the step', async () => {
  const begun = Promise.withResolvers<void>()
  let ended = false
  const loop = startLoop(async (signal) => {
    begun.resolve()
    await once(signal, 'abort')
    ended = true
    return 0
  }, fail)
  await begun.promise
  await loop.close()
  expect(ended).toBe(true)
})

it('reports an error, rests whoever wakes it, and goes on', async () => {
  vi.useFakeTimers()
  const errors: string[] = []
  let count = 0
  const loop = startLoop(
    async () => {
      if (count++ === 0) throw new Error('away')
      return HOUR_MS
    },
    (error) => errors.push(error.message),
  )
  await vi.advanceTimersByTimeAsync(100)
  loop.wake()
  await vi.advanceTimersByTimeAsync(399)
  expect({ errors, count }).toEqual({ errors: ['away'], count: 1 })
  await vi.advanceTimersByTimeAsync(1)
  expect(count).toBe(2)
  await loop.close()
  vi.useRealTimers()
})

it('waits for a transaction a little longer each time, up to the bound', () => {
  const pause = settlingPause(10)
  expect([pause.next(), pause.next(), pause.next(), pause.next(), pause.next(), pause.next()]).toEqual([
    1, 2, 4, 8, 10, 10,
  ])
  pause.reset()
  expect(pause.next()).toBe(1)
})
