import { describe, expect, test } from 'vitest'
import { createEjection, type EjectionOptions, type FailureKind } from './ejection.ts'

function scene(options: EjectionOptions = {}, mayEject = () => true) {
  const clock = { nowMs: 0 }
  const transitions: string[] = []
  const endpoint = createEjection(options, {
    now: () => clock.nowMs,
    random: () => 0.5,
    mayEject,
    onTransition: (from, to) => transitions.push(`${from} → ${to}`),
  })
  const fail = (kind: FailureKind, times = 1) => {
    for (let call = 0; call < times; call += 1) endpoint.failure(endpoint.start(), kind)
  }
  const succeed = (times = 1) => {
    for (let call = 0; call < times; call += 1) endpoint.success(endpoint.start())
  }
  return { clock, transitions, endpoint, fail, succeed }
}

describe('rule 1, transport failures in a row', () => {
  test('ejects at the fifth', () => {
    const { endpoint, fail } = scene()
    fail('TRANSPORT', 4)
    expect(endpoint.ready()).toBe(true)
    fail('TRANSPORT')
    expect(endpoint.state()).toBe('EJECTED')
    expect(endpoint.ready()).toBe(false)
  })

  test('ejects at once when the connection is refused', () => {
    const { endpoint, fail, succeed } = scene()
    succeed(1_000)
    fail('REFUSED')
    expect(endpoint.snapshot()).toEqual({ state: 'EJECTED', ejections: 1, retryAfterMs: 1_000 })
  })

  test('starts over when the endpoint answers, be it with an error', () => {
    const { endpoint, fail, succeed } = scene()
    succeed(20)
    fail('TRANSPORT', 4)
    fail('ERROR')
    fail('TRANSPORT', 4)
    succeed()
    fail('TRANSPORT', 4)
    expect(endpoint.state()).toBe('AVAILABLE')
  })
})

describe('rule 2, the exact ratio', () => {
  test('ejects at half of ten calls', () => {
    const { endpoint, fail, succeed } = scene()
    succeed(5)
    fail('ERROR', 4)
    expect(endpoint.snapshot()).toEqual({ state: 'AVAILABLE', calls: 9, failureRatio: 4 / 9 })
    fail('ERROR')
    expect(endpoint.state()).toBe('EJECTED')
  })

  test('does not judge fewer than ten calls', () => {
    const { endpoint, fail } = scene()
    fail('ERROR', 9)
    expect(endpoint.state()).toBe('AVAILABLE')
  })

  test('does not see what left the window', () => {
    const { clock, endpoint, fail } = scene()
    fail('ERROR', 9)
    clock.nowMs = 10_000
    fail('ERROR', 9)
    expect(endpoint.state()).toBe('AVAILABLE')
  })
})

describe('an ejected endpoint', () => {
  test('admits exactly one probe when its time is up', () => {
    const { clock, endpoint, fail } = scene()
    fail('REFUSED')
    clock.nowMs = 999
    expect(endpoint.ready()).toBe(false)
    clock.nowMs = 1_000
    expect(endpoint.ready()).toBe(true)
    expect(endpoint.start()).toBeDefined()
    expect(endpoint.ready()).toBe(false)
    expect(endpoint.start()).toBeUndefined()
  })

  test('returns with a clean record after a successful probe', () => {
    const { clock, endpoint, fail, succeed, transitions } = scene()
    fail('ERROR', 10)
    clock.nowMs = 1_000
    succeed()
    expect(endpoint.snapshot()).toEqual({ state: 'AVAILABLE', calls: 1, failureRatio: 0 })
    expect(transitions).toEqual(['AVAILABLE → EJECTED', 'EJECTED → PROBING', 'PROBING → AVAILABLE'])
  })

  test('stays out twice as long after each failed probe, up to 60 s', () => {
    const { clock, endpoint, fail } = scene()
    fail('REFUSED')
    const waits = Array.from({ length: 8 }, () => {
      const snapshot = endpoint.snapshot()
      const waitMs = snapshot.state === 'EJECTED' ? snapshot.retryAfterMs : Number.NaN
      clock.nowMs += waitMs
      fail('ERROR')
      return waitMs
    })
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
  })

  test('forgets the doubling once it is readmitted', () => {
    const { clock, endpoint, fail, succeed } = scene()
    fail('REFUSED')
    clock.nowMs = 1_000
    fail('ERROR')
    clock.nowMs = 3_000
    succeed()
    fail('REFUSED')
    expect(endpoint.snapshot()).toMatchObject({ ejections: 1, retryAfterMs: 1_000 })
  })

  test('gives the place of a cancelled probe to the next call', () => {
    const { clock, endpoint, fail, succeed } = scene()
    fail('REFUSED')
    clock.nowMs = 1_000
    endpoint.cancel(endpoint.start())
    expect(endpoint.ready()).toBe(true)
    succeed()
    expect(endpoint.state()).toBe('AVAILABLE')
  })

  test('counts a probe that never reports as failed', () => {
    const { clock, endpoint, fail } = scene()
    fail('REFUSED')
    clock.nowMs = 1_000
    const probe = endpoint.start()
    clock.nowMs = 31_000
    expect(endpoint.ready()).toBe(false)
    expect(endpoint.snapshot()).toEqual({ state: 'EJECTED', ejections: 2, retryAfterMs: 2_000 })
    endpoint.success(probe)
    expect(endpoint.state()).toBe('EJECTED')
  })
})

describe('evidence', () => {
  test('of calls started before the ejection is ignored', () => {
    const { clock, endpoint, fail, succeed } = scene()
    const late = Array.from({ length: 20 }, endpoint.start)
    fail('REFUSED')
    endpoint.success(late.pop())
    expect(endpoint.state()).toBe('EJECTED')
    clock.nowMs = 1_000
    succeed()
    for (const epoch of late) endpoint.failure(epoch, 'REFUSED')
    expect(endpoint.snapshot()).toEqual({ state: 'AVAILABLE', calls: 1, failureRatio: 0 })
  })

  test('of calls sent in a panic is ignored', () => {
    const { clock, endpoint, fail, succeed } = scene()
    fail('REFUSED')
    const panicked = endpoint.start()
    succeed()
    expect(endpoint.state()).toBe('EJECTED')
    clock.nowMs = 1_000
    const probe = endpoint.start()
    fail('REFUSED')
    endpoint.success(panicked)
    expect(endpoint.state()).toBe('PROBING')
    endpoint.success(probe)
    expect(endpoint.state()).toBe('AVAILABLE')
  })

  test('of a cancelled call is none', () => {
    const { endpoint, fail } = scene()
    fail('TRANSPORT', 4)
    endpoint.cancel(endpoint.start())
    expect(endpoint.snapshot()).toMatchObject({ calls: 4 })
    fail('TRANSPORT')
    expect(endpoint.state()).toBe('EJECTED')
  })

  test('waits while the cluster cannot spare the endpoint', () => {
    let spare = false
    const { endpoint, fail } = scene({}, () => spare)
    fail('REFUSED', 50)
    expect(endpoint.state()).toBe('AVAILABLE')
    spare = true
    fail('TRANSPORT')
    expect(endpoint.state()).toBe('EJECTED')
  })
})

test('refuses a ceiling below the first ejection', () => {
  expect(() => scene({ ejectMs: 5_000, maxEjectMs: 1_000 })).toThrow(
    'maxEjectMs is 1000: it must be a number between 5000 and 86400000',
  )
})
