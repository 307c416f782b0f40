import { describe, expect, test } from 'vitest'
import { createBreaker } from './breaker.ts'
import { createGuard, type Verdict } from './guard.ts'

class Refused extends Error {}

function scene(classify?: (error: unknown) => Verdict) {
  const clock = { nowMs: 0 }
  const now = () => clock.nowMs
  const trip = { kind: 'RATE', windowCalls: 4, minimumCalls: 2, slowCallMs: 100 } as const
  const breaker = createBreaker({ trip }, { now, random: () => 0.5 })
  const refused = (retryAfterMs: number) => new Refused(`retry after ${retryAfterMs} ms`)
  return { clock, breaker, guard: createGuard(breaker, { now, refused, ...(classify && { classify }) }) }
}

const fails = () => Promise.reject(new Error('421 closing channel'))
const never = () => new Promise<never>(() => {})

describe('createGuard', () => {
  test('returns what the call returns and counts how long it took', async () => {
    const { clock, breaker, guard } = scene()
    const result = guard(async () => {
      clock.nowMs += 101
      return 'delivered'
    })
    await expect(result).resolves.toBe('delivered')
    expect(breaker.snapshot()).toEqual({ state: 'CLOSED', calls: 1, failures: 0, slow: 1 })
  })

  test('throws the error of the call as it is, then refuses without calling', async () => {
    const { guard } = scene()
    await expect(guard(fails)).rejects.toThrow('421 closing channel')
    await expect(guard(fails)).rejects.toThrow('421 closing channel')
    let called = false
    const refusal = guard(async () => {
      called = true
    })
    await expect(refusal).rejects.toThrow(new Refused('retry after 10000 ms'))
    expect(called).toBe(false)
  })

  test('counts a call that throws before it returns a promise', async () => {
    const { breaker, guard } = scene()
    const call = (): Promise<void> => {
      throw new Error('no socket')
    }
    await expect(guard(call)).rejects.toThrow('no socket')
    expect(breaker.snapshot()).toMatchObject({ failures: 1 })
  })

  test.each([
    ['SUCCESS', { calls: 1, failures: 0 }],
    ['FAILURE', { calls: 1, failures: 1 }],
    ['IGNORE', { calls: 0, failures: 0 }],
  ] as const)('lets the caller judge an error as %s', async (verdict, counts) => {
    const { breaker, guard } = scene(() => verdict)
    await expect(guard(fails)).rejects.toThrow('421')
    expect(breaker.snapshot()).toMatchObject(counts)
  })

  test('ends with the reason of the signal, though the call ignores it, and blames nobody', async () => {
    const { breaker, guard } = scene()
    const caller = new AbortController()
    const result = guard(never, caller.signal)
    caller.abort(new Error('client left'))
    await expect(result).rejects.toThrow('client left')
    expect(breaker.snapshot()).toMatchObject({ calls: 0 })
  })

  test('blames the dependency when the signal is a time-out', async () => {
    const { breaker, guard } = scene()
    const deadline = new AbortController()
    const result = guard(never, deadline.signal)
    deadline.abort(new DOMException('too slow', 'TimeoutError'))
    await expect(result).rejects.toThrow('too slow')
    expect(breaker.snapshot()).toMatchObject({ calls: 1, failures: 1 })
  })

  test('spends no probe on a call that is already cancelled', async () => {
    const { clock, breaker, guard } = scene()
    await expect(guard(fails)).rejects.toThrow()
    await expect(guard(fails)).rejects.toThrow()
    clock.nowMs = 10_000
    await expect(guard(fails, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
    expect(breaker.state()).toBe('OPEN')
  })
})
