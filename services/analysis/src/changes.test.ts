import { getEventListeners } from 'node:events'
import { expect, it } from 'vitest'
import { openChanges } from './changes.ts'

async function open() {
  let tell = (_: string): void => {}
  const changes = await openChanges({
    onChange: async (listener) => {
      tell = listener
      return { close: async () => {} }
    },
  })
  return { changes, tell: (id: string) => tell(id) }
}

/** Whether it resolves before everything that is due now. */
const resolves = (promise: Promise<void>): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => setImmediate(resolve, false))])

it('resolves at a change of its own, or when some may have been missed, and not at those of others', async () => {
  const { changes, tell } = await open()
  const { signal } = new AbortController()
  using subscription = changes.subscribe('a')
  const own = subscription.next(signal)
  tell('b')
  expect(await resolves(own)).toBe(false)
  tell('a')
  expect(await resolves(own)).toBe(true)
  const any = subscription.next(signal)
  tell('')
  expect(await resolves(any)).toBe(true)
})

it('resolves when the signal aborts, also one that has', async () => {
  const { changes } = await open()
  const leaving = new AbortController()
  using subscription = changes.subscribe('a')
  const next = subscription.next(leaving.signal)
  leaving.abort()
  expect(await resolves(next)).toBe(true)
  expect(await resolves(subscription.next(leaving.signal))).toBe(true)
})

it('leaves nothing on the signal, however many changes a watch has seen', async () => {
  const { changes, tell } = await open()
  const { signal } = new AbortController()
  const subscription = changes.subscribe('a')
  for (let round = 0; round < 50; round++) {
    const next = subscription.next(signal)
    if (round % 2 === 0) tell('a')
    else void next // its watch found enough to tell without waiting
  }
  expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(1)
  subscription[Symbol.dispose]()
  expect(getEventListeners(signal, 'abort')).toEqual([])
})
