import { describe, expect, it } from 'vitest'
import { interruptible } from './lease-stream.ts'

async function* from<T>(items: readonly T[], then: Promise<void> = Promise.resolve()) {
  yield* items
  await then
}

const never = new Promise<void>(() => {})

describe('an interruptible sequence', () => {
  it('is that of its source, with interruptions between, each as soon as somebody listens', async () => {
    const sequence = interruptible<string, number>(from(['a', 'b']))
    sequence.interrupt(1)
    const seen: unknown[] = []
    for await (const item of sequence) {
      seen.push(item)
      if (item === 'a') sequence.interrupt(2)
    }
    expect(seen).toEqual([1, 'a', 2, 'b'])
  })

  it('is interrupted while it waits for its source', async () => {
    const sequence = interruptible<string, number>(from([], never))
    const items = sequence[Symbol.asyncIterator]()
    const next = items.next()
    await new Promise(setImmediate)
    sequence.interrupt(1)
    expect(await next).toEqual({ done: false, value: 1 })
  })

  it('keeps the latest of many interruptions', async () => {
    const sequence = interruptible<string, number>(from(['a']))
    for (let i = 0; i < 100; i++) sequence.interrupt(i)
    const seen: unknown[] = []
    for await (const item of sequence) seen.push(item)
    expect(seen).toEqual([...Array.from({ length: 16 }, (_, i) => 84 + i), 'a'])
  })

  it('ends with the first failure, its own or that of its source', async () => {
    const failing = interruptible<string, number>(from([], never))
    const next = failing[Symbol.asyncIterator]().next()
    failing.fail(new Error('first'))
    failing.fail(new Error('second'))
    await expect(next).rejects.toThrow('first')
    const broken = interruptible<string, number>(from([], Promise.reject(new Error('broken'))))
    await expect(broken[Symbol.asyncIterator]().next()).rejects.toThrow('broken')
  })
})
