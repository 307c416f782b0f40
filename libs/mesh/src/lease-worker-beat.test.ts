import { expect, it, vi } from 'vitest'
import { lagOf, startBeat } from './lease-worker-beat.ts'

it('the lag counts from when the next beat was due', () => {
  const memory = new SharedArrayBuffer(8)
  new BigInt64Array(memory)[0] = 1_000_000_000n
  const lagAt = (ms: number) => lagOf(memory, () => BigInt(ms) * 1_000_000n)
  expect([1_000, 1_100, 1_101, 4_100].map(lagAt)).toEqual([0, 0, 1, 3_000])
})

it('a loop that is blocked lags, and no more once it runs again', async () => {
  const { memory, stop } = startBeat()
  const until = performance.now() + 300
  while (performance.now() < until);
  expect(lagOf(memory)).toBeGreaterThan(190)
  await vi.waitFor(() => expect(lagOf(memory)).toBe(0))
  stop()
})
