import { silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { createOutbox, type OutboxOptions } from './outbox.ts'

class Away extends Error {}

function outbox(options: Partial<OutboxOptions<number>> = {}) {
  const written: number[] = []
  let dropped = 0
  const box = createOutbox<number>({
    ready: Promise.resolve(),
    write: async (items) => void written.push(...items),
    isFault: (error) => !(error instanceof Away),
    logger: silentLogger,
    onDropped: () => dropped++,
    random: () => 0.5,
    ...options,
  })
  return { box, written, dropped: () => dropped }
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

describe('an outbox', () => {
  it('writes in order what waited for the store to be there', async () => {
    const { promise: ready, resolve } = Promise.withResolvers<void>()
    const { box, written } = outbox({ ready })
    for (const item of upTo(50)) box.push(item)
    await new Promise(setImmediate)
    expect(written).toEqual([])
    resolve()
    await eventually(() => expect(written).toEqual(upTo(50)))
    box.push(50)
    await eventually(() => expect(written).toEqual(upTo(51)))
  })

  it('keeps the order when the store goes away in the middle', async () => {
    let calls = 0
    const written: number[] = []
    const { box, dropped } = outbox({
      write: async (items) => {
        if (++calls % 2 === 1) throw new Away('away')
        written.push(...items)
      },
    })
    for (const item of upTo(45)) box.push(item)
    await eventually(() => expect(written).toEqual(upTo(45)))
    expect(dropped()).toBe(0)
  })

  it('writes what comes at the very moment when the last write has ended', async () => {
    const { promise: firstWrite, resolve } = Promise.withResolvers<void>()
    const written: number[] = []
    const { box } = outbox({
      write(items) {
        written.push(...items)
        return firstWrite
      },
    })
    box.push(1)
    await eventually(() => expect(written).toEqual([1]))
    const next = firstWrite.then(() => box.push(2))
    resolve()
    await next
    await eventually(() => expect(written).toEqual([1, 2]))
  })

  it('drops the oldest when too many wait', async () => {
    const { promise: ready, resolve } = Promise.withResolvers<void>()
    const { box, written, dropped } = outbox({ ready, limit: 3 })
    for (const item of upTo(10)) box.push(item)
    resolve()
    await eventually(() => expect(written).toEqual([7, 8, 9]))
    expect(dropped()).toBe(7)
  })

  it('gives up an item that the store refuses, and no other', async () => {
    const written: number[] = []
    const { box, dropped } = outbox({
      random: () => 0,
      write: async (items) => {
        if (items.includes(2)) throw new Error('refused')
        written.push(...items)
      },
    })
    for (const item of upTo(5)) box.push(item)
    await eventually(() => expect(written).toEqual([0, 1, 3, 4]), { timeoutMs: 15_000 })
    expect(dropped()).toBe(1)
  })

  it('closes while it waits for a store that never comes, and while the store is away', async () => {
    const waiting = outbox({ ready: new Promise<never>(() => {}) })
    const failing = outbox({ write: () => Promise.reject(new Away('away')) })
    for (const { box } of [waiting, failing]) box.push(1)
    await new Promise(setImmediate)
    await Promise.all([waiting.box.close(), failing.box.close()])
    expect([waiting.written, failing.written]).toEqual([[], []])
  })

  it('closes without a pause when the write that it waited for fails', async () => {
    const { promise: write, reject } = Promise.withResolvers<void>()
    const { box } = outbox({ write: () => write })
    box.push(1)
    await new Promise(setImmediate)
    let isClosed = false
    const closing = box.close().then(() => {
      isClosed = true
    })
    reject(new Away('away'))
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
    expect(isClosed).toBe(true)
    await closing
  })
})
