import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BreakerOptions, type BreakerSnapshot, createBreaker, type Permit } from './breaker.ts'

function scene(options: BreakerOptions = {}, random = () => 0.5) {
  const clock = { nowMs: 0 }
  const transitions: [string, BreakerSnapshot][] = []
  const breaker = createBreaker(options, {
    now: () => clock.nowMs,
    random,
    onTransition: (from, to) => transitions.push([from, to]),
  })
  function acquire(): Permit {
    const permit = breaker.tryAcquire()
    if (!permit.admitted) throw new Error(`refused for ${permit.retryAfterMs} ms`)
    return permit
  }
  function trip(): void {
    for (let call = 0; call < 20; call += 1) acquire().failure(1)
  }
  return { clock, transitions, breaker, acquire, trip }
}

describe('a closed breaker', () => {
  test('opens at half of twenty calls', () => {
    const { breaker, acquire } = scene()
    for (let call = 0; call < 10; call += 1) acquire().success(1)
    for (let call = 0; call < 9; call += 1) acquire().failure(1)
    expect(breaker.snapshot()).toEqual({ state: 'CLOSED', calls: 19, failures: 9, slow: 0 })
    acquire().failure(1)
    expect(breaker.snapshot()).toEqual({
      state: 'OPEN',
      reason: 'FAILURE_RATE',
      openings: 1,
      retryAfterMs: 10_000,
    })
  })

  test('opens when every call is slow', () => {
    const { breaker, acquire } = scene({ trip: { kind: 'RATE', slowCallMs: 500 } })
    for (let call = 0; call < 20; call += 1) acquire().success(501)
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', reason: 'SLOW_RATE' })
  })

  test('opens after failures in a row in consecutive mode', () => {
    const { breaker, acquire } = scene({ trip: { kind: 'CONSECUTIVE', failureThreshold: 2 } })
    acquire().failure(1)
    expect(breaker.state()).toBe('CLOSED')
    acquire().failure(1)
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', reason: 'CONSECUTIVE_FAILURES' })
  })

  test('does not count ignored calls', () => {
    const { breaker, acquire } = scene()
    for (let call = 0; call < 100; call += 1) acquire().ignore()
    expect(breaker.snapshot()).toEqual({ state: 'CLOSED', calls: 0, failures: 0, slow: 0 })
  })

  test('counts only the first report of a permit', () => {
    const { breaker, acquire } = scene()
    const permit = acquire()
    permit.success(1)
    permit.failure(1)
    permit.ignore()
    expect(breaker.snapshot()).toEqual({ state: 'CLOSED', calls: 1, failures: 0, slow: 0 })
  })
})

describe('an open breaker', () => {
  test('refuses until its time is up and says how long that is', () => {
    const { clock, breaker, trip } = scene()
    trip()
    clock.nowMs = 9_999
    expect(breaker.tryAcquire()).toEqual({ admitted: false, retryAfterMs: 1 })
    clock.nowMs = 10_000
    expect(breaker.tryAcquire().admitted).toBe(true)
  })

  test('spreads its time by ±20 %', () => {
    const { breaker, trip } = scene({}, () => 0)
    trip()
    expect(breaker.tryAcquire()).toEqual({ admitted: false, retryAfterMs: 8_000 })
  })

  test('ignores calls that began before it opened, then and after it has closed again', () => {
    const { clock, breaker, acquire, trip } = scene()
    const late = Array.from({ length: 40 }, acquire)
    trip()
    for (const permit of late.splice(0, 10)) permit.success(1)
    expect(breaker.state()).toBe('OPEN')
    clock.nowMs = 10_000
    const probes = [acquire(), acquire(), acquire()]
    for (const permit of late.splice(0, 10)) permit.failure(10_000)
    expect(breaker.snapshot()).toMatchObject({ state: 'HALF_OPEN', inFlight: 3, successes: 0 })
    for (const probe of probes) probe.success(1)
    for (const permit of late) permit.failure(10_000)
    expect(breaker.snapshot()).toEqual({ state: 'CLOSED', calls: 0, failures: 0, slow: 0 })
  })
})

describe('a half-open breaker', () => {
  function halfOpen() {
    const all = scene()
    all.trip()
    all.clock.nowMs = 10_000
    return all
  }

  test('admits exactly three calls before the verdict', () => {
    const { breaker, acquire } = halfOpen()
    const probes = [acquire(), acquire(), acquire()]
    expect(breaker.tryAcquire()).toEqual({ admitted: false, retryAfterMs: 1_000 })
    probes[0]?.success(1)
    expect(breaker.tryAcquire().admitted).toBe(false)
  })

  test('closes after three successes', () => {
    const { breaker, acquire, transitions } = halfOpen()
    acquire().success(1)
    acquire().success(1)
    expect(breaker.state()).toBe('HALF_OPEN')
    acquire().success(1)
    expect(breaker.state()).toBe('CLOSED')
    expect(transitions).toEqual([
      ['CLOSED', { state: 'OPEN', reason: 'FAILURE_RATE', openings: 1, retryAfterMs: 10_000 }],
      ['OPEN', { state: 'HALF_OPEN', openings: 1, inFlight: 0, successes: 0 }],
      ['HALF_OPEN', { state: 'CLOSED', calls: 0, failures: 0, slow: 0 }],
    ])
  })

  test('reopens at any failure, and ignores the other probes', () => {
    const { breaker, acquire } = halfOpen()
    const [first, second, third] = [acquire(), acquire(), acquire()]
    first.success(1)
    second.failure(1)
    third.success(1)
    expect(breaker.snapshot()).toEqual({
      state: 'OPEN',
      reason: 'PROBE_FAILED',
      openings: 2,
      retryAfterMs: 20_000,
    })
  })

  test('doubles its time at each reopening up to 60 s, and starts over once closed', () => {
    const { clock, breaker, acquire, trip } = halfOpen()
    const waits = Array.from({ length: 4 }, () => {
      acquire().failure(1)
      const refusal = breaker.tryAcquire()
      const waitMs = refusal.admitted ? Number.NaN : refusal.retryAfterMs
      clock.nowMs += waitMs
      return waitMs
    })
    expect(waits).toEqual([20_000, 40_000, 60_000, 60_000])
    for (let probe = 0; probe < 3; probe += 1) acquire().success(1)
    trip()
    expect(breaker.snapshot()).toMatchObject({ openings: 1, retryAfterMs: 10_000 })
  })

  test('gives the slot of an ignored probe to another', () => {
    const { breaker, acquire } = halfOpen()
    const probes = [acquire(), acquire(), acquire()]
    probes[1]?.ignore()
    acquire()
    expect(breaker.tryAcquire().admitted).toBe(false)
  })

  test('counts a probe that never reports as failed', () => {
    const { clock, breaker, acquire } = halfOpen()
    const stuck = acquire()
    clock.nowMs = 39_999
    acquire().success(1)
    clock.nowMs = 40_000
    expect(breaker.tryAcquire()).toEqual({ admitted: false, retryAfterMs: 20_000 })
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', reason: 'PROBE_TIMEOUT', openings: 2 })
    stuck.success(1)
    expect(breaker.state()).toBe('OPEN')
  })
})

test('exposes nobody while open and never more than three calls while half open', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(15_000) }),
    fc.record({ do: fc.constant('acquire' as const), ms: fc.constant(0) }),
    fc.record({
      do: fc.constantFrom('success' as const, 'failure' as const, 'ignore' as const),
      ms: fc.nat(),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const { clock, breaker } = scene({ trip: { kind: 'CONSECUTIVE', failureThreshold: 2 } })
      const held: Permit[] = []
      for (const { do: action, ms } of steps) {
        if (action === 'wait') clock.nowMs += ms
        else if (action === 'acquire') {
          const before = breaker.snapshot()
          const permit = breaker.tryAcquire()
          if (permit.admitted) held.push(permit)
          else expect(permit.retryAfterMs).toBeGreaterThan(0)
          if (before.state === 'CLOSED') expect(permit.admitted).toBe(true)
          if (before.state === 'OPEN') expect(permit.admitted).toBe(before.retryAfterMs === 0)
        } else {
          const [permit] = held.splice(ms % Math.max(1, held.length), 1)
          permit?.[action](1)
        }
        const after = breaker.snapshot()
        if (after.state === 'HALF_OPEN') expect(after.inFlight + after.successes).toBeLessThanOrEqual(3)
      }
    }),
  )
})

test('refuses a ceiling below the first open time', () => {
  expect(() => scene({ openMs: 90_000 })).toThrow('maxOpenMs is 60000: it must be a number between 90000 and')
})
