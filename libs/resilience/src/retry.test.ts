import { describe, expect, test } from 'vitest'
import { createBackoff } from './backoff.ts'
import { retry, type Sleep } from './retry.ts'

const backoff = createBackoff({}, () => 0.5)
const never = () => new Promise<never>(() => {})

/** Virtual time: sleepers wake in order of their time while the test lets it pass. */
function virtualTime() {
  const sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>()
  const time = { nowMs: 0 }
  const sleep: Sleep = (ms, signal) =>
    new Promise((resolve, reject) => {
      const sleeper = { atMs: time.nowMs + ms, wake: resolve }
      sleepers.add(sleeper)
      signal.addEventListener('abort', () => sleepers.delete(sleeper) && reject(signal.reason), {
        once: true,
      })
    })
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

  /** Lets time pass until nobody sleeps any more. */
  async function run(): Promise<void> {
    await settled()
    for (let [next] = byTime(sleepers); next; [next] = byTime(sleepers)) {
      sleepers.delete(next)
      time.nowMs = next.atMs
      next.wake()
      await settled()
    }
  }
  return { time, sleep, run, settled, sleepers }
}

function byTime<T extends { readonly atMs: number }>(sleepers: Iterable<T>): T[] {
  return [...sleepers].sort((a, b) => a.atMs - b.atMs)
}

describe('retry', () => {
  test('tries three times, 100 ms and 200 ms apart, and throws the last error as it is', async () => {
    const { time, sleep, run } = virtualTime()
    const began: number[] = []
    const result = retry(
      async (_, attempt) => {
        began.push(time.nowMs)
        throw new Error(`attempt ${attempt} failed`)
      },
      { backoff, sleep },
    )
    await Promise.all([expect(result).rejects.toThrow('attempt 3 failed'), run()])
    expect(began).toEqual([0, 100, 300])
  })

  test('returns the first success', async () => {
    const { sleep, run, time } = virtualTime()
    const result = retry(
      async (_, attempt) => {
        if (attempt === 1) throw new Error('not yet')
        return attempt
      },
      { backoff, sleep },
    )
    await Promise.all([expect(result).resolves.toBe(2), run()])
    expect(time.nowMs).toBe(100)
  })

  test('does not repeat what is not retryable', async () => {
    const { sleep, sleepers } = virtualTime()
    const attempts: number[] = []
    const result = retry(
      async (_, attempt) => {
        attempts.push(attempt)
        throw new TypeError('bad address')
      },
      { backoff, sleep, retryable: (error) => !(error instanceof TypeError) },
    )
    await expect(result).rejects.toThrow('bad address')
    expect(attempts).toEqual([1])
    expect(sleepers.size).toBe(0)
  })

  test('ends an attempt that hangs after its own time, tells it why, and tries again', async () => {
    const { time, sleep, run } = virtualTime()
    const reasons: unknown[] = []
    const result = retry(
      (signal) => {
        signal.addEventListener('abort', () => reasons.push(signal.reason.name))
        return never()
      },
      { backoff, sleep, attempts: 2 },
    )
    await Promise.all([expect(result).rejects.toThrow('no result after 30000 ms'), run()])
    expect(reasons).toEqual(['TimeoutError', 'TimeoutError'])
    expect(time.nowMs).toBe(60_100)
  })

  test.each(['during an attempt', 'during a back-off'])(
    'ends with the reason of the signal %s',
    async (when) => {
      const { sleep, settled, sleepers } = virtualTime()
      const caller = new AbortController()
      const attempts: number[] = []
      const result = retry(
        (_, attempt) => {
          attempts.push(attempt)
          return when === 'during an attempt' ? never() : Promise.reject(new Error('down'))
        },
        { backoff, sleep, signal: caller.signal },
      )
      await settled()
      expect(sleepers.size).toBe(1)
      caller.abort(new Error('shutting down'))
      await expect(result).rejects.toThrow('shutting down')
      await settled()
      expect(sleepers.size).toBe(0)
      expect(attempts).toEqual([1])
    },
  )

  test('does not begin when the signal has already aborted', async () => {
    let begun = false
    const call = async () => {
      begun = true
    }
    const signal = AbortSignal.abort(new Error('too late'))
    await expect(retry(call, { backoff, signal })).rejects.toThrow('too late')
    expect(begun).toBe(false)
  })

  test('clears its real timers on success, and on abort with the reason of the signal', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    const caller = new AbortController()
    const options = { backoff: () => 60_000, signal: caller.signal }
    const hanging = retry(never, options)
    const backingOff = retry(() => Promise.reject(new Error('down')), options)
    await expect(retry(async () => 'ok', options)).resolves.toBe('ok')
    await new Promise<void>((resolve) => setImmediate(resolve))
    expect(timers()).toBe(before + 2)
    caller.abort(new Error('stop'))
    await expect(hanging).rejects.toThrow('stop')
    await expect(backingOff).rejects.toThrow('stop')
    expect(timers()).toBe(before)
  })

  test('refuses to try zero times', async () => {
    await expect(retry(never, { backoff, attempts: 0 })).rejects.toThrow(
      'attempts is 0: it must be a whole number between 1 and 100',
    )
  })
})
