import { expect, test } from 'vitest'
import { createHealth, type HealthOptions, type HealthReport } from './health.ts'
import { createMetrics } from './metrics.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

function fakeTime() {
  let at = 0
  const timers = new Set<{ due: number; fn: () => void }>()
  const after: HealthOptions['after'] = (ms, fn) => {
    const timer = { due: at + ms, fn }
    timers.add(timer)
    return () => timers.delete(timer)
  }
  const pass = async (ms: number) => {
    const end = at + ms
    for (;;) {
      await turn()
      const [next] = [...timers].filter((t) => t.due <= end).toSorted((a, b) => a.due - b.due)
      if (!next) break
      at = next.due
      timers.delete(next)
      next.fn()
    }
    at = end
  }
  return { now: () => at, after, pass, pending: () => timers.size }
}

function open(options: HealthOptions = {}) {
  const time = fakeTime()
  return { ...time, health: createHealth({ now: time.now, after: time.after, ...options }) }
}

const passes = async () => {}
const fails = async () => {
  throw new Error('connection to postgres://u:hunter2@db lost')
}
const hangs = () => new Promise<never>(() => {})

test('is unknown without checks', () => {
  expect(open().health.report()).toEqual({ state: 'unknown', checks: [] })
})

test.each([
  [0, 8, 'healthy'],
  [1, 8, 'healthy'],
  [2, 8, 'degraded'],
  [3, 8, 'degraded'],
  [4, 8, 'unhealthy'],
  [1, 1, 'unhealthy'],
])('with %i of %i checks failed is %3$s', async (failed, total, state) => {
  const { health, pass } = open()
  for (let i = 0; i < total; i++) {
    health.register({ name: `c${i}`, check: i < failed ? fails : passes, critical: false })
  }
  health.start()
  await pass(0)
  expect(health.report().state).toBe(state)
})

test('is unhealthy as soon as one critical check failed', async () => {
  const { health, pass } = open()
  for (let i = 0; i < 9; i++) health.register({ name: `c${i}`, check: passes, critical: false })
  health.register({ name: 'database', check: fails, critical: true })
  health.start()
  await pass(0)
  expect(health.report().state).toBe('unhealthy')
})

test('is unknown until every critical check has a result', async () => {
  const { health, pass } = open()
  const answer = Promise.withResolvers<void>()
  health.register({ name: 'disk', check: passes, critical: false })
  health.register({ name: 'database', check: () => answer.promise, critical: true })
  health.start()
  await pass(0)
  expect(health.report().state).toBe('unknown')
  answer.resolve()
  await pass(0)
  expect(health.report().state).toBe('healthy')
})

test('a check that hangs fails at its time-out and delays no other', async () => {
  const { health, pass } = open()
  let reason: unknown
  health.register({
    name: 'hangs',
    critical: false,
    check: (signal) => {
      signal.addEventListener('abort', () => {
        reason = signal.reason
      })
      return hangs()
    },
  })
  health.register({ name: 'passes', check: passes, critical: false })
  health.start()
  await pass(9_999)
  expect(health.report().checks).toMatchObject([{ state: 'unknown' }, { state: 'passed', checkedAt: 0 }])
  await pass(1)
  expect(health.report().checks[0]).toMatchObject({
    state: 'failed',
    error: 'timed out after 10000 ms',
    checkedAt: 10_000,
    durationMs: 10_000,
  })
  expect(reason).toEqual(new Error('timed out after 10000 ms'))
})

test('a check that hung once recovers at its next interval', async () => {
  const { health, pass } = open()
  const answers = [hangs, passes]
  health.register({ name: 'c', check: () => (answers.shift() ?? passes)(), critical: true })
  health.start()
  await pass(29_999)
  expect(health.report().state).toBe('unhealthy')
  await pass(1)
  expect(health.report().state).toBe('healthy')
})

test('runs each check at its own interval', async () => {
  const { health, pass } = open()
  const runs = { fast: 0, slow: 0 }
  health.register({
    name: 'fast',
    check: async () => runs.fast++,
    critical: false,
    intervalMs: 1_000,
    timeoutMs: 500,
  })
  health.register({ name: 'slow', check: async () => runs.slow++, critical: false })
  health.start()
  await pass(60_000)
  expect(runs).toEqual({ fast: 61, slow: 3 })
})

test('a check that throws at once fails like one that rejects', async () => {
  const { health, pass } = open()
  const check = () => {
    throw new Error('no socket')
  }
  health.register({ name: 'c', check, critical: false })
  health.start()
  await pass(0)
  expect(health.report().checks[0]).toMatchObject({ state: 'failed', error: 'no socket' })
})

test('shows no secret of a failure', async () => {
  const { health, pass } = open()
  health.register({ name: 'db', check: fails, critical: false })
  health.start()
  await pass(0)
  expect(JSON.stringify(health.report())).not.toContain('hunter2')
})

test('tells listeners of a new state once, until they unsubscribe', async () => {
  const { health, pass } = open()
  const seen: HealthReport['state'][] = []
  const unsubscribe = health.onChange(({ state }) => seen.push(state))
  let ok = true
  health.register({ name: 'c', check: () => (ok ? passes() : fails()), critical: true })
  health.start()
  await pass(60_000)
  ok = false
  await pass(60_000)
  unsubscribe()
  ok = true
  await pass(60_000)
  expect(seen).toEqual(['healthy', 'unhealthy'])
})

test('forgets a check that is removed, runs one that is added late', async () => {
  const { health, pass } = open()
  const remove = health.register({ name: 'gone', check: fails, critical: true })
  health.start()
  await pass(0)
  health.register({ name: 'late', check: passes, critical: true })
  remove()
  await pass(0)
  expect(health.report()).toMatchObject({ state: 'healthy', checks: [{ name: 'late' }] })
})

test('leaves no timer and reports nothing more after stop', async () => {
  const { health, pass, pending } = open()
  let aborted = false
  health.register({
    name: 'c',
    critical: true,
    check: (signal) => {
      signal.addEventListener('abort', () => {
        aborted = true
      })
      return hangs()
    },
  })
  health.start()
  await pass(0)
  health.stop()
  await pass(60_000)
  expect(pending()).toBe(0)
  expect(aborted).toBe(true)
  expect(health.report().checks[0]?.state).toBe('unknown')
})

test('shows each result as a metric', async () => {
  const metrics = createMetrics({ service: 's', version: '1', processMetrics: false })
  const { health, pass } = open({ metrics })
  health.register({ name: 'db', check: fails, critical: true })
  health.register({ name: 'disk', check: passes, critical: false })
  health.start()
  await pass(0)
  const { body } = await metrics.render()
  expect(body).toContain('docmesh_health_check_up{check="db"} 0')
  expect(body).toContain('docmesh_health_check_up{check="disk"} 1')
})

test('refuses a duplicate name and times out of range', () => {
  const { health } = open()
  health.register({ name: 'c', check: passes, critical: false })
  expect(() => health.register({ name: 'c', check: passes, critical: false })).toThrow(
    /c is registered already/,
  )
  const bad = { name: 'd', check: passes, critical: false }
  expect(() => health.register({ ...bad, intervalMs: 0 })).toThrow(/intervalMs of health check d is 0/)
  expect(() => health.register({ ...bad, timeoutMs: 30_001 })).toThrow(/timeoutMs of health check d is 30001/)
})
