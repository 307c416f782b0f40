import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createEjection, type EjectionOptions, type EjectionReason, type FailureKind } from './ejection.ts'

function scene(options: EjectionOptions = {}, mayEject = () => true) {
  const clock = { nowMs: 0 }
  const transitions: string[] = []
  const reasons: (EjectionReason | undefined)[] = []
  const endpoint = createEjection(options, {
    now: () => clock.nowMs,
    random: () => 0.5,
    mayEject,
    onTransition: (from, to, reason) => {
      transitions.push(`${from} → ${to}`)
      reasons.push(reason)
    },
  })
  const fail = (kind: FailureKind, times = 1) => {
    for (let call = 0; call < times; call += 1) endpoint.failure(endpoint.start(), kind)
  }
  const succeed = (times = 1) => {
    for (let call = 0; call < times; call += 1) endpoint.success(endpoint.start())
  }
  return { clock, transitions, reasons, endpoint, fail, succeed }
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

describe('rule 3, the sweep', () => {
  const ejectedForMs = ({ endpoint }: ReturnType<typeof scene>): number => {
    const snapshot = endpoint.snapshot()
    return snapshot.state === 'EJECTED' ? snapshot.retryAfterMs : Number.NaN
  }

  test('takes the calls that ended since the last take', () => {
    const { endpoint, fail, succeed } = scene()
    succeed(7)
    fail('ERROR', 2)
    endpoint.cancel(endpoint.start())
    expect(endpoint.takeCounts()).toEqual({ successes: 7, failures: 2 })
    succeed()
    expect(endpoint.takeCounts()).toEqual({ successes: 1, failures: 0 })
    expect(endpoint.takeCounts()).toEqual({ successes: 0, failures: 0 })
  })

  test('takes nothing of the time before a readmission', () => {
    const { clock, endpoint, fail, succeed } = scene()
    fail('TRANSPORT', 5)
    expect(endpoint.takeCounts()).toEqual({ successes: 0, failures: 0 })
    clock.nowMs = 1_000
    succeed(3)
    expect(endpoint.takeCounts()).toEqual({ successes: 3, failures: 0 })
  })

  test('ejects for 30 s, and longer each time up to 300 s', () => {
    const all = scene()
    const lengths = Array.from({ length: 12 }, () => {
      expect(all.endpoint.sweepEject('success_rate')).toBe(true)
      const lengthMs = ejectedForMs(all)
      all.clock.nowMs += lengthMs
      all.succeed()
      return lengthMs / 1_000
    })
    expect(lengths).toEqual([30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300])
  })

  test('shortens the next ejection by one step with each sweep that passes', () => {
    const all = scene()
    for (let sweep = 0; sweep < 3; sweep += 1) {
      all.endpoint.sweepEject('success_rate')
      all.clock.nowMs += 300_000
      all.succeed()
    }
    all.endpoint.sweepPass()
    all.endpoint.sweepPass()
    all.endpoint.sweepEject('success_rate')
    expect(ejectedForMs(all)).toBe(60_000)
    all.endpoint.sweepPass()
    all.clock.nowMs += 60_000
    all.succeed()
    all.endpoint.sweepEject('success_rate')
    expect(ejectedForMs(all)).toBe(90_000)
  })

  test('never goes below one step, however long all is well', () => {
    const all = scene()
    for (let sweep = 0; sweep < 100; sweep += 1) all.endpoint.sweepPass()
    all.endpoint.sweepEject('failure_percentage')
    expect(ejectedForMs(all)).toBe(30_000)
  })

  test('leaves alone what is ejected already', () => {
    const { endpoint, fail, clock } = scene()
    fail('REFUSED')
    expect(endpoint.sweepEject('success_rate')).toBe(false)
    clock.nowMs = 1_000
    const probe = endpoint.start()
    expect(endpoint.sweepEject('success_rate')).toBe(false)
    endpoint.success(probe)
    expect(endpoint.state()).toBe('AVAILABLE')
  })

  test('does not eject what the cluster cannot spare', () => {
    const { endpoint } = scene({}, () => false)
    expect(endpoint.sweepEject('failure_percentage')).toBe(false)
    expect(endpoint.state()).toBe('AVAILABLE')
  })

  test('ignores the calls that end after it', () => {
    const { endpoint, clock, succeed } = scene()
    const late = endpoint.start()
    endpoint.sweepEject('success_rate')
    endpoint.success(late)
    expect(endpoint.state()).toBe('EJECTED')
    clock.nowMs = 30_000
    succeed()
    endpoint.failure(late, 'REFUSED')
    expect(endpoint.takeCounts()).toEqual({ successes: 1, failures: 0 })
  })
})

describe('a transition', () => {
  test('names the rule that ejected', () => {
    const gone = scene()
    gone.fail('TRANSPORT', 5)
    expect(gone.reasons).toEqual(['consecutive_failures'])
    const failing = scene()
    failing.fail('ERROR', 10)
    expect(failing.reasons).toEqual(['success_ratio'])
    const outlier = scene()
    outlier.endpoint.sweepEject('failure_percentage')
    expect(outlier.reasons).toEqual(['failure_percentage'])
  })

  test('names a failed and a silent probe, and no reason when it is no ejection', () => {
    const { clock, endpoint, fail, succeed, transitions, reasons } = scene()
    fail('REFUSED')
    clock.nowMs = 1_000
    fail('ERROR')
    clock.nowMs = 3_000
    endpoint.start()
    clock.nowMs = 33_000
    endpoint.ready()
    clock.nowMs = 37_000
    endpoint.cancel(endpoint.start())
    succeed()
    expect(transitions.map((transition, i) => `${transition}: ${reasons[i]}`)).toEqual([
      'AVAILABLE → EJECTED: consecutive_failures',
      'EJECTED → PROBING: undefined',
      'PROBING → EJECTED: probe_failed',
      'EJECTED → PROBING: undefined',
      'PROBING → EJECTED: probe_failed',
      'EJECTED → PROBING: undefined',
      'PROBING → EJECTED: undefined',
      'EJECTED → PROBING: undefined',
      'PROBING → AVAILABLE: undefined',
    ])
  })
})

test('counts each call once, and a sweep ejection lasts a whole number of steps', () => {
  const step = fc.oneof(fc.constantFrom('success', 'failure', 'take', 'sweep', 'pass'), fc.nat(40_000))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { clock, endpoint, fail, succeed } = scene({ consecutiveFailures: 1_000, minimumCalls: 10_000 })
      let counted = 0
      let multiplier = 0
      for (const action of steps) {
        const available = endpoint.state() === 'AVAILABLE'
        if (typeof action === 'number') clock.nowMs += action
        else if (action === 'success' || action === 'failure') {
          if (action === 'success') succeed()
          else fail('ERROR')
          counted = endpoint.state() === 'AVAILABLE' ? (available ? counted + 1 : 1) : 0
        } else if (action === 'take') {
          const { successes, failures } = endpoint.takeCounts()
          expect(successes + failures).toBe(counted)
          counted = 0
        } else if (action === 'pass') {
          endpoint.sweepPass()
          if (available) multiplier = Math.max(0, multiplier - 1)
        } else {
          expect(endpoint.sweepEject('success_rate')).toBe(available)
          if (!available) continue
          multiplier += 1
          counted = 0
          expect(endpoint.snapshot()).toMatchObject({ retryAfterMs: Math.min(300_000, 30_000 * multiplier) })
        }
      }
    }),
  )
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
  expect(() => scene({ baseSweepMs: 600_000 })).toThrow('maxSweepMs is 300000')
  expect(() => scene({ ejectMs: 5_000, maxEjectMs: 1_000 })).toThrow(
    'maxEjectMs is 1000: it must be a number between 5000 and 86400000',
  )
})
