import { fakeClock } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import type { HealthCheck } from './health-check.ts'
import { doing, healingWorld } from './world.fixture.ts'

/** Something that is well or not, and its check every second. */
function patient(name = 'a', more: Partial<HealthCheck> = {}) {
  const state = { well: true }
  const check: HealthCheck = {
    name: 'health',
    target: name,
    criticality: 'high',
    intervalMs: 1_000,
    timeoutMs: 500,
    failuresBefore: 2,
    run: async () => ({ healthy: state.well, detail: state.well ? 'well' : 'ill' }),
    ...more,
  }
  return { state, check }
}

const strategy = (...steps: string[][]) => [{ steps, escalation: 'high' as const }]

describe('healing', () => {
  it('tells of a change of health, not of every check', async () => {
    const { state, check } = patient()
    const world = healingWorld(fakeClock())
    world.healing.watch(check)
    await world.advance(5_000)
    expect(world.events).toEqual([])
    state.well = false
    await world.advance(1_000)
    expect(world.events).toEqual([]) // one failure is none
    await world.advance(3_000)
    expect(world.told().filter((words) => words.startsWith('checked'))).toEqual(['checked health/a failing'])
    state.well = true
    await world.advance(3_000)
    expect(world.told().filter((words) => words.startsWith('checked'))).toEqual([
      'checked health/a failing',
      'checked health/a passing',
    ])
  })

  it('restarts what is ill, waits until it settled, and sees that it is well', async () => {
    const { state, check } = patient()
    const world = healingWorld(fakeClock(), {
      actions: [doing('restart', () => (state.well = true))],
      strategies: strategy(['restart']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(10_000)
    expect(world.told()).toEqual([
      'checked health/a failing',
      'started health/a restart',
      'checked health/a passing',
      'completed health/a healed',
    ])
    const [, started, , completed] = world.events
    expect(completed).toMatchObject({ recoveryId: 'r1', detail: 'restart done; well' })
    expect((completed?.atMs ?? 0) - (started?.atMs ?? 0)).toBe(1_000)
    expect(world.healing.history()).toMatchObject([
      { id: 'r1', check: 'health/a', actions: ['restart'], outcome: { kind: 'healed' } },
    ])
  })

  it('goes on with the next step when the check still fails, and escalates once after the last', async () => {
    const { state, check } = patient()
    const world = healingWorld(fakeClock(), {
      actions: [doing('first', () => {}), doing('second', () => {})],
      strategies: strategy(['first'], ['second']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(600_000)
    expect(world.told()).toEqual([
      'checked health/a failing',
      'started health/a first',
      'started health/a second',
      'completed health/a escalated',
    ])
    expect(world.events.at(-1)).toMatchObject({
      detail: 'health/a (high): nothing helped (ill); first done; second done',
    })
  })

  it('tries anew one window after an escalation', async () => {
    const { state, check } = patient()
    const world = healingWorld(fakeClock(), {
      windowMs: 60_000,
      actions: [doing('restart', () => {})],
      strategies: strategy(['restart']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(75_000)
    expect(world.told().filter((words) => words.startsWith('completed'))).toHaveLength(2)
  })

  it('counts a check that hangs as failed, and goes on asking', async () => {
    const { state, check } = patient()
    const hanging: HealthCheck = {
      ...check,
      run: (signal) => (state.well ? check.run(signal) : new Promise<never>(() => {})),
    }
    const world = healingWorld(fakeClock(), {
      actions: [doing('restart', () => (state.well = true))],
      strategies: strategy(['restart']),
    })
    world.healing.watch(hanging)
    state.well = false
    await world.advance(10_000)
    expect(world.events[0]).toMatchObject({ healthy: false, detail: 'no answer within 500 ms' })
    expect(world.told().at(-1)).toBe('completed health/a healed')
  })

  it('ends an action that takes too long, rolls it back, and goes on with the next step', async () => {
    const { state, check } = patient()
    const done: string[] = []
    const world = healingWorld(fakeClock(), {
      actionTimeoutMs: 2_000,
      actions: [
        doing('hang', () => new Promise(() => {}), {
          rollback: async (target) => void done.push(`rolled back ${target}`),
        }),
        doing('never', () => done.push('never')),
        doing('restart', () => (state.well = true)),
      ],
      strategies: strategy(['hang', 'never'], ['restart']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(30_000)
    expect(done).toEqual(['rolled back a'])
    expect(world.events.at(-1)).toMatchObject({
      kind: 'completed',
      succeeded: true,
      detail: 'hang failed: no answer within 2000 ms; restart done; well',
    })
  })

  it('rests longer after each recovery of a check that fails again and again', async () => {
    const { state, check } = patient()
    const starts: number[] = []
    const world = healingWorld(fakeClock(), {
      cooldownMs: 10_000,
      actions: [
        doing('restart', () => {
          state.well = true
          starts.push(world.clock.now())
        }),
      ],
      strategies: strategy(['restart']),
    })
    world.healing.watch(check)
    for (let second = 0; second < 120; second++) {
      if (!world.told().at(-1)?.startsWith('started')) state.well = false
      await world.advance(1_000)
    }
    const gaps = starts.slice(1).map((at, index) => at - (starts[index] ?? 0))
    expect(gaps.length).toBeGreaterThanOrEqual(3)
    expect(gaps[0]).toBeGreaterThanOrEqual(10_000)
    expect(gaps[1]).toBeGreaterThanOrEqual(20_000)
    expect(gaps[2]).toBeGreaterThanOrEqual(40_000)
  })

  it('does nothing once the cap is reached, and escalates once', async () => {
    const { state, check } = patient()
    let restarts = 0
    const world = healingWorld(fakeClock(), {
      perTarget: 3,
      cooldownMs: 1_000,
      actions: [
        doing('restart', () => {
          restarts++
          state.well = true
        }),
      ],
      strategies: strategy(['restart']),
    })
    world.healing.watch(check)
    for (let second = 0; second < 600; second++) {
      if (!world.told().at(-1)?.startsWith('started')) state.well = false
      await world.advance(1_000, 1_000)
    }
    expect(restarts).toBe(3)
    expect(world.told().filter((words) => words.endsWith('escalated'))).toHaveLength(1)
    expect(world.events.at(-1)).toMatchObject({
      kind: 'completed',
      detail: 'health/a (high): as many actions as are allowed have been taken',
    })
  })

  it('escalates at once where no action helps, and says when it is over', async () => {
    const { state, check } = patient('folder', { name: 'disk' })
    const world = healingWorld(fakeClock(), { strategies: strategy() })
    world.healing.watch(check)
    state.well = false
    await world.advance(5_000)
    state.well = true
    await world.advance(5_000)
    expect(world.told()).toEqual([
      'checked disk/folder failing',
      'completed disk/folder escalated',
      'checked disk/folder passing',
    ])
  })

  it('leaves alone what another check explains, also a while after that passes again', async () => {
    const database = patient('database', { name: 'database' })
    const instance = patient('a', { explainedBy: ['database/database'] })
    const world = healingWorld(fakeClock(), {
      lingerMs: 20_000,
      actions: [doing('restart', () => {})],
      strategies: [
        { check: 'database', steps: [], escalation: 'critical' },
        { steps: [['restart']], escalation: 'high' },
      ],
    })
    world.healing.watch(database.check)
    world.healing.watch(instance.check)
    await world.advance(1_000)
    database.state.well = false
    instance.state.well = false
    await world.advance(30_000)
    database.state.well = true
    await world.advance(15_000)
    expect(world.told().filter((words) => words.includes('health/a'))).toEqual([])
    await world.advance(10_000) // its excuse is gone
    expect(world.told()).toContain('started health/a restart')
  })

  it('leaves alone what another check explains that failed only once', async () => {
    const database = patient('database', { name: 'database' })
    const instance = patient('a', { explainedBy: ['database/database'] })
    const world = healingWorld(fakeClock(), {
      lingerMs: 20_000,
      actions: [doing('restart', () => {})],
      strategies: strategy(['restart']),
    })
    world.healing.watch(database.check)
    world.healing.watch(instance.check)
    await world.advance(5_000)
    database.state.well = false
    instance.state.well = false
    await world.advance(1_000)
    database.state.well = true
    await world.advance(15_000) // the instance looks again only now
    instance.state.well = true
    await world.advance(10_000)
    expect(world.told()).toEqual([])
  })

  it('counts from the last failure, one that was no news too, how long all has been well', async () => {
    const { state, check } = patient()
    const done: string[] = []
    const rollback = async () => void done.push('removed')
    const world = healingWorld(fakeClock(), {
      actions: [doing('add-instance', () => (state.well = true), { undoAfterMs: 60_000, rollback })],
      strategies: strategy(['add-instance']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(40_000)
    state.well = false
    await world.advance(1_000)
    state.well = true
    await world.advance(40_000)
    expect(done).toEqual([])
    await world.advance(30_000)
    expect(done).toEqual(['removed'])
  })

  it('does nothing more for a check that is no longer watched, and calls nobody for it', async () => {
    const { state, check } = patient()
    const done: string[] = []
    const world = healingWorld(fakeClock(), {
      actions: [doing('first', () => done.push('first')), doing('second', () => done.push('second'))],
      strategies: strategy(['first'], ['second']),
    })
    const end = world.healing.watch(check)
    state.well = false
    await world.advance(3_000)
    expect(done).toEqual(['first'])
    end()
    await world.advance(60_000)
    expect(done).toEqual(['first'])
    expect(world.told()).toEqual(['checked health/a failing', 'started health/a first'])
    expect(world.clock.pending()).toBe(0)
  })

  it('takes back an instance that was added, when all has been well for long', async () => {
    const { state, check } = patient()
    const done: string[] = []
    const world = healingWorld(fakeClock(), {
      actions: [
        doing(
          'add-instance',
          () => {
            done.push('added')
            state.well = true
          },
          { undoAfterMs: 60_000, rollback: async () => void done.push('removed') },
        ),
      ],
      strategies: strategy(['add-instance']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(60_000)
    expect(done).toEqual(['added'])
    await world.advance(10_000)
    expect(done).toEqual(['added', 'removed'])
    expect(world.told().slice(-2)).toEqual([
      'started health/a undo add-instance',
      'completed health/a healed',
    ])
    await world.advance(200_000)
    expect(done).toEqual(['added', 'removed'])
  })

  it('keeps the newest of its history', async () => {
    const { state, check } = patient()
    const world = healingWorld(fakeClock(), {
      historyLimit: 2,
      cooldownMs: 1,
      windowMs: 1_000,
      actions: [doing('restart', () => (state.well = true))],
      strategies: strategy(['restart']),
    })
    world.healing.watch(check)
    for (let round = 0; round < 5; round++) {
      state.well = false
      await world.advance(10_000)
    }
    expect(world.healing.history().map(({ id }) => id)).toEqual(['r4', 'r5'])
  })

  it('ends what is under way when it is stopped, without a word to people', async () => {
    const { state, check } = patient()
    let ended = false
    const world = healingWorld(fakeClock(), {
      actions: [
        doing('hang', (_, signal) => {
          signal.addEventListener('abort', () => (ended = true))
          return new Promise(() => {})
        }),
      ],
      strategies: strategy(['hang']),
    })
    world.healing.watch(check)
    state.well = false
    await world.advance(3_000)
    await world.healing.stop()
    expect(ended).toBe(true)
    expect(world.told()).toEqual(['checked health/a failing', 'started health/a hang'])
    expect(world.clock.pending()).toBe(0)
  })

  it('refuses a strategy whose action does not exist, and a second check of the same name', () => {
    expect(() => healingWorld(fakeClock(), { strategies: strategy(['pray']) })).toThrow(
      'there is no recovery action pray',
    )
    const world = healingWorld(fakeClock())
    world.healing.watch(patient().check)
    expect(() => world.healing.watch(patient().check)).toThrow('health/a is watched already')
  })
})
