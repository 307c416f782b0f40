import { fakeClock } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { createRestartPolicy } from './restart-policy.ts'

const crashAfter = (uptimesMs: readonly number[]): unknown[] => {
  const clock = fakeClock()
  const policy = createRestartPolicy(clock.now)
  return uptimesMs.map((uptimeMs) => {
    policy.started()
    clock.advance(uptimeMs)
    const decision = policy.ended(1)
    return decision.kind === 'restart' ? decision.delayMs : decision.kind
  })
}

describe('restart policy', () => {
  it('doubles the delay from 0.2 s with each crash in a row, up to 10 s', () => {
    expect(crashAfter(Array(9).fill(100))).toEqual([
      200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000,
    ])
  })

  it('begins again with 0.2 s after the process was up for 30 s', () => {
    expect(crashAfter([0, 0, 0, 30_000, 0])).toEqual([200, 400, 800, 200, 400])
  })

  it('goes on doubling after 29.999 s', () => {
    expect(crashAfter([0, 29_999])).toEqual([200, 400])
  })

  it('keeps 10 s after a thousand crashes', () => {
    expect(crashAfter(Array(1_100).fill(0)).at(-1)).toBe(10_000)
  })

  it('gives up on exit code 78 at once', () => {
    const policy = createRestartPolicy(fakeClock().now)
    policy.started()
    expect(policy.ended(78)).toEqual({ kind: 'give-up', reason: 'bad environment' })
  })

  it('restarts a process that a signal ended', () => {
    expect(createRestartPolicy(fakeClock().now).ended(null)).toEqual({ kind: 'restart', delayMs: 200 })
  })

  it('restarts a process that ended with 0: a service has no reason to', () => {
    expect(createRestartPolicy(fakeClock().now).ended(0).kind).toBe('restart')
  })
})
