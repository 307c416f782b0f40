import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createBell } from './bell.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('ends a rest when it rings, and tells that from a rest that is over', async () => {
  const bell = createBell()
  const { signal } = new AbortController()
  const over = bell.rest(50, signal)
  await vi.advanceTimersByTimeAsync(50)
  expect(await over).toBe(false)
  const ended = bell.rest(50, signal)
  bell.ring()
  expect(await ended).toBe(true)
})

it('remembers one ring until the next rest', async () => {
  const bell = createBell()
  const { signal } = new AbortController()
  bell.ring()
  bell.ring()
  expect(await bell.rest(50, signal)).toBe(true)
  const over = bell.rest(50, signal)
  await vi.advanceTimersByTimeAsync(50)
  expect(await over).toBe(false)
})

it('ends a rest when the signal aborts', async () => {
  const leaving = new AbortController()
  const bell = createBell()
  const ended = bell.rest(50, leaving.signal)
  leaving.abort()
  expect(await ended).toBe(false)
  expect(await bell.rest(50, leaving.signal)).toBe(false)
})
