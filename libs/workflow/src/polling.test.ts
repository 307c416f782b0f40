import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keepPolling, type Polling } from './polling.ts'

/** Looks that each end when told so, and when each began. */
let looks: { atMs: number; end(collided?: boolean): void }[]
let polling: Polling

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
  looks = []
  polling = keepPolling(
    () =>
      new Promise((resolve) => {
        looks.push({ atMs: Date.now(), end: (collided = false) => resolve(collided) })
      }),
    { intervalMs: 1_000, random: () => 0.5 },
  )
})
afterEach(() => void vi.useRealTimers())

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)
const times = (): number[] => looks.map(({ atMs }) => atMs)

test('looks at once, and then after the interval', async () => {
  looks[0]?.end()
  await pass(1_100)
  expect(times()).toEqual([0, 1_005])
})

test('looks when it is woken', async () => {
  looks[0]?.end()
  await pass(300)
  polling.wake()
  await pass(0)
  expect(times()).toEqual([0, 300])
})

test('what wakes it during a look and shortly after leads to one more', async () => {
  await pass(100)
  polling.wake()
  polling.wake()
  looks[0]?.end()
  await pass(2)
  polling.wake()
  expect(times()).toEqual([0])
  await pass(3)
  expect(times()).toEqual([0, 105])
  looks[1]?.end()
  await pass(500)
  expect(times()).toEqual([0, 105])
})

test('pauses after it got in the way of others, whoever wakes it', async () => {
  looks[0]?.end(true)
  await pass(10)
  polling.wake()
  await pass(39)
  expect(times()).toEqual([0])
  await pass(1)
  expect(times()).toEqual([0, 50])
})

test('stopping waits for the look under way, ends every rest, and nothing comes after it', async () => {
  let stopped = false
  const stopping = polling.stop().then(() => {
    stopped = true
  })
  await pass(0)
  expect(stopped).toBe(false)
  looks[0]?.end()
  await stopping
  polling.wake()
  await pass(5_000)
  expect(times()).toEqual([0])
  expect(vi.getTimerCount()).toBe(0)
})

test.each([2, 500])('stopping %d ms after a look ends the rest at once', async (ms) => {
  looks[0]?.end()
  await pass(ms)
  let stopped = false
  void polling.stop().then(() => {
    stopped = true
  })
  await pass(0)
  expect(stopped).toBe(true)
  expect(vi.getTimerCount()).toBe(0)
})
