import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { untilAborted } from './until-aborted.ts'

const never = new Promise<never>(() => {})

test('settles as the work does and leaves no listener behind', async () => {
  const { signal } = new AbortController()
  await expect(untilAborted(Promise.resolve(7), signal)).resolves.toBe(7)
  await expect(untilAborted(Promise.reject(new Error('broken')), signal)).rejects.toThrow('broken')
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('rejects with the reason when the signal aborts first', async () => {
  const controller = new AbortController()
  const result = untilAborted(never, controller.signal)
  controller.abort('enough')
  await expect(result).rejects.toBe('enough')
})

test('rejects at once when the signal has already aborted', async () => {
  await expect(untilAborted(never, AbortSignal.abort('before'))).rejects.toBe('before')
})
