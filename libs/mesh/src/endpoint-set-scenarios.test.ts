import { fakeClock } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import { createEndpointSet, type EndpointEvent, type Outcome } from './endpoint-set.ts'

interface Answer {
  readonly afterMs: number
  readonly outcome: Outcome
}

/**
 * Calls through a set alone, without retries, in virtual time: they arrive at random moments, are answered after about
 * 5 ms unless `answer` says otherwise, and end at the deadline at the latest.
 */
function scenario({
  ids,
  callsPerSecond,
  deadlineMs = 500,
  answer = () => undefined,
}: {
  ids: readonly string[]
  callsPerSecond: number
  deadlineMs?: number
  answer?: (id: string, atMs: number) => Answer | undefined
}) {
  const clock = fakeClock()
  const random = seededRandom(1)
  const events: (EndpointEvent & { atMs: number })[] = []
  const set = createEndpointSet({
    now: clock.now,
    random: seededRandom(2),
    onEvent: (event) => events.push({ ...event, atMs: clock.now() }),
  })
  set.update(ids.map((id) => endpointNamed(id)))
  const calls = new Map<string, number>()
  const failedAtMs: number[] = []

  function call(): void {
    clock.setTimeout(call, ((0.5 + random()) * 1_000) / callsPerSecond)
    const pick = set.pick()
    if (typeof pick === 'string') throw new Error(pick)
    const id = pick.endpoint.instanceId
    calls.set(id, (calls.get(id) ?? 0) + 1)
    const { afterMs, outcome } = answer(id, clock.now()) ?? { afterMs: 3 + 4 * random(), outcome: 'SUCCESS' }
    const end: Answer =
      afterMs > deadlineMs ? { afterMs: deadlineMs, outcome: 'TRANSPORT' } : { afterMs, outcome }
    clock.setTimeout(() => {
      if (end.outcome !== 'SUCCESS') failedAtMs.push(clock.now())
      pick.done(end.outcome)
    }, end.afterMs)
  }
  function sweep(): void {
    clock.setTimeout(sweep, 10_000)
    set.sweep()
  }
  clock.setTimeout(call, 0)
  clock.setTimeout(sweep, 10_000)

  /** Runs for some seconds and returns the part of the calls that each endpoint got meanwhile. */
  function run(seconds: number): Record<string, number> {
    calls.clear()
    clock.advance(seconds * 1_000)
    const all = [...calls.values()].reduce((a, b) => a + b, 0)
    return Object.fromEntries([...calls].map(([id, count]) => [id, count / all]))
  }
  return { set, run, failedAtMs, events, nowMs: clock.now }
}

const BEGIN_MS = 20_000
const HANGS: Answer = { afterMs: Number.POSITIVE_INFINITY, outcome: 'TRANSPORT' }
const after = (atMs: number, bad: readonly string[], answer: Answer) => (id: string, nowMs: number) =>
  nowMs >= atMs && bad.includes(id) ? answer : undefined

describe.each([2, 3, 5])('one of %d endpoints', (count) => {
  const ids = ['a', 'b', 'c', 'd', 'e'].slice(0, count)

  it('that hangs costs at most ten calls in two minutes, and all of those began within one second', () => {
    const { run, failedAtMs } = scenario({
      ids,
      callsPerSecond: 50,
      answer: after(BEGIN_MS, ['a'], HANGS),
    })
    run(20)
    expect(failedAtMs).toEqual([])
    run(30)
    const soon = failedAtMs.length
    expect(soon).toBeGreaterThan(0)
    expect(Math.max(...failedAtMs)).toBeLessThan(BEGIN_MS + 500 + 1_000)
    run(90)
    expect(failedAtMs.length).toBeLessThanOrEqual(10)
  })

  it('that hangs while each endpoint has many calls under way is ejected, and probed alone', () => {
    const { run, set, events, failedAtMs } = scenario({
      ids,
      callsPerSecond: 5_000,
      answer: after(BEGIN_MS, ['a'], HANGS),
    })
    run(22)
    expect(set.list()[0]?.state).toBe('ejected')
    expect(events.map(({ kind }) => kind)).toEqual(['ejected'])
    const atOnce = failedAtMs.length
    expect(run(20).a).toBeLessThan(0.001)
    expect(failedAtMs.length - atOnce).toBeLessThan(10)
  })

  it('that fails fast gets next to no calls', () => {
    for (const outcome of ['ERROR', 'TRANSPORT', 'REFUSED'] as const) {
      const { run, failedAtMs } = scenario({
        ids,
        callsPerSecond: 200,
        answer: after(BEGIN_MS, ['a'], { afterMs: 1, outcome }),
      })
      run(20)
      run(60)
      expect(failedAtMs.length).toBeGreaterThan(0)
      expect(failedAtMs.length).toBeLessThanOrEqual(10)
    }
  })

  it('that is ten times as slow gets a fraction of its share, and all of it when it is well again', () => {
    const { run } = scenario({
      ids,
      callsPerSecond: 200,
      answer: (id, nowMs) => (id === 'a' && nowMs < 60_000 ? { afterMs: 50, outcome: 'SUCCESS' } : undefined),
    })
    run(10)
    expect(run(50).a).toBeLessThan(0.35 / count)
    run(40)
    expect(run(60).a).toBeGreaterThan(0.75 / count)
  })
})

it('an endpoint that starts to refuse is ejected at once, and readmitted soon after it stops', () => {
  const { run, events, failedAtMs } = scenario({
    ids: ['a', 'b', 'c'],
    callsPerSecond: 100,
    answer: (id, nowMs) =>
      id === 'a' && nowMs >= BEGIN_MS && nowMs < BEGIN_MS + 5_000
        ? { afterMs: 1, outcome: 'REFUSED' }
        : undefined,
  })
  run(40)
  expect(events.map(({ kind }) => kind)).toEqual(['ejected', 'readmitted'])
  const [ejected, readmitted] = events.map(({ atMs }) => atMs)
  expect(ejected).toBeLessThan(BEGIN_MS + 200)
  expect(readmitted).toBeLessThan(BEGIN_MS + 15_000)
  expect(failedAtMs.length).toBeLessThanOrEqual(5)
  expect(run(60).a).toBeGreaterThan(0.25)
})

it('three of ten that fail fast are all ejected, not one more, and one call in fifty fails until then', () => {
  const bad = ['b', 'e', 'h']
  const { run, set, failedAtMs, events } = scenario({
    ids: Array.from('abcdefghij'),
    callsPerSecond: 500,
    answer: after(BEGIN_MS, bad, { afterMs: 1, outcome: 'ERROR' }),
  })
  run(50)
  const ejected = set.list().filter(({ state }) => state === 'ejected')
  expect(ejected.map(({ endpoint }) => endpoint.instanceId)).toEqual(bad)
  expect(events.every(({ kind }) => kind === 'ejected')).toBe(true)
  expect(failedAtMs.length).toBeLessThan((30 * 500) / 50)
  const before = failedAtMs.length
  run(60)
  expect(failedAtMs.length - before).toBeLessThan(20)
})

it('all of ten that fail leave a set that still sends to all of them, and recovers when they do', () => {
  const { run, set } = scenario({
    ids: Array.from('abcdefghij'),
    callsPerSecond: 500,
    answer: (_, nowMs) =>
      nowMs >= BEGIN_MS && nowMs < BEGIN_MS + 10_000 ? { afterMs: 1, outcome: 'TRANSPORT' } : undefined,
  })
  run(30)
  expect(set.available()).toBe(7)
  run(120)
  expect(set.available()).toBe(10)
  expect(Object.values(run(60)).every((part) => part > 0.06)).toBe(true)
})

it('replacing every endpoint, one each 20 s, fails no call and keeps the shares even', () => {
  const { run, set, failedAtMs } = scenario({ ids: ['a0', 'b0', 'c0'], callsPerSecond: 200 })
  let ids = ['a0', 'b0', 'c0']
  run(20)
  for (let round = 1; round <= 3; round++) {
    for (const name of ['a', 'b', 'c']) {
      const old = `${name}${round - 1}`
      const fresh = `${name}${round}`
      set.update([...ids.map((id) => endpointNamed(id, { draining: id === old })), endpointNamed(fresh)])
      ids = [...ids.filter((id) => id !== old), fresh]
      const first = run(2)
      expect(first[old]).toBeUndefined()
      expect(first[fresh]).toBeGreaterThan(0.01)
      expect(first[fresh]).toBeLessThan(0.2)
      set.update(ids.map((id) => endpointNamed(id)))
      run(8)
      for (const part of Object.values(run(10))) expect(Math.abs(part - 1 / 3)).toBeLessThan(0.15)
    }
  }
  expect(failedAtMs).toEqual([])
})
