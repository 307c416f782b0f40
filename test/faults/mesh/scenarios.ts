// What the mesh promises, each promise with the fault that tries it.
import { setTimeout as delay } from 'node:timers/promises'
import { Code } from '@docmesh/rpc'
import { eventually } from '@docmesh/testing'
import { kill9, type Lab, type LabOptions, startLab } from './lab.ts'
import { type Ended, failuresIn, healMs } from './load.ts'
import { end, type Running } from './processes.ts'

export interface Result {
  /** Whether the bar is met; null where this machine cannot try it. */
  readonly ok: boolean | null
  readonly calls: number
  readonly failed: number
  readonly heal_ms: number
  /** What must hold for `ok`. */
  readonly bar: string
  readonly [detail: string]: unknown
}

export interface RunOptions {
  /** Fewer repetitions and shorter outages. */
  readonly short: boolean
  readonly registryDownMs: number
}

export type Scenario = (options: RunOptions) => Promise<Result>

export const WARM_UP_MS = 1_500

export const summary = (calls: readonly Ended[]) => ({
  calls: calls.length,
  failed: failuresIn(calls).length,
  heal_ms: healMs(calls),
  ...(failuresIn(calls).length > 0 && { first_failures: describe(failuresIn(calls)) }),
})

export const skipped = (why: string, bar: string): Result => ({
  ok: null,
  skipped: why,
  calls: 0,
  failed: 0,
  heal_ms: 0,
  bar,
})

const describe = (failures: readonly Ended[]): string[] =>
  [...new Set(failures.map(({ code, message }) => `${code}: ${message}`))].slice(0, 3)

async function inLab(options: LabOptions, run: (lab: Lab) => Promise<Result>): Promise<Result> {
  await using lab = await startLab(options)
  return await run(lab)
}

const first = (running: readonly Running[]): Running => running[0] as Running

const kill: Scenario = () =>
  inLab({ echoes: 3 }, async (lab) => {
    const load = lab.load({ perSecond: 200 })
    await delay(WARM_UP_MS)
    const victim = first(lab.echoes)
    const faultAt = performance.now()
    await kill9(victim)
    await eventually(() => {
      if (lab.mesh.endpoints('echo').some(({ endpoint }) => endpoint.instanceId === victim.instanceId))
        throw new Error('still listed')
    })
    const delisted_ms = Math.round(performance.now() - faultAt)
    const avoided_ms = Math.round(Math.max(0, (lab.lastPickOf(victim) ?? faultAt) - faultAt))
    await delay(1_000)
    const result = summary(await load.stop())
    const ok = result.failed === 0 && avoided_ms <= 100 && delisted_ms <= 3_000
    return {
      ok,
      ...result,
      avoided_ms,
      delisted_ms,
      bar: '0 failed, avoided within 100 ms, delisted within 3 s',
    }
  })

/** Milliseconds until the caller sends calls to this instance again; none of the others may fail meanwhile. */
export async function calledAgain(lab: Lab, echo: Running): Promise<number> {
  const wellAt = performance.now()
  const load = lab.load({ perSecond: 50, timeoutMs: 500 })
  await eventually(
    () => {
      if ((lab.lastPickOf(echo) ?? 0) < wellAt) throw new Error('not called again yet')
    },
    { timeoutMs: 90_000 },
  )
  const again = Math.round(performance.now() - wellAt)
  const failures = failuresIn(await load.stop())
  if (failures.length > 0) throw new Error(`calls failed after the fault was over: ${describe(failures)}`)
  return again
}

const stop: Scenario = ({ short }) =>
  inLab({ echoes: 3 }, async (lab) => {
    const load = lab.load({ perSecond: 50, timeoutMs: 500 })
    await delay(WARM_UP_MS)
    const victim = first(lab.echoes)
    victim.process.kill('SIGSTOP')
    await delay(6_000)
    const result = summary(await load.stop())
    const ok = result.failed <= 10 && result.heal_ms <= 1_000
    const bar = '<= 10 failed of 50/s with 500 ms deadline, healed within 1 s'
    victim.process.kill('SIGCONT')
    if (short) return { ok, ...result, bar }
    return { ok, ...result, back_ms: await calledAgain(lab, victim), bar }
  })

const rollingRestart: Scenario = ({ short }) =>
  inLab({ registries: 2, echoes: 3 }, async (lab) => {
    const restarts = short ? 6 : 50
    const load = lab.load({ perSecond: 200, mixed: true })
    await delay(WARM_UP_MS)
    for (let restart = 0; restart < restarts; restart++) {
      const old = lab.echoes.shift() as Running
      await end(old.process)
      await lab.ready([await lab.startEcho()])
      if (restart % 10 === 5) {
        const index = Math.floor(restart / 10) % 2
        await end((lab.registries[index] as Running).process)
        await lab.restartRegistry(index)
      }
    }
    await delay(1_000)
    const result = summary(await load.stop())
    return { ok: result.failed === 0, ...result, restarts, bar: '0 failed, half of the calls not idempotent' }
  })

const registryDown: Scenario = ({ registryDownMs }) =>
  inLab({ registries: 1, echoes: 3 }, async (lab) => {
    const load = lab.load({ perSecond: 100 })
    await delay(WARM_UP_MS)
    await kill9(first(lab.registries))
    await delay(registryDownMs / 2)
    await kill9(lab.echoes.pop() as Running) // nobody tells the caller: it must find out
    await delay(registryDownMs / 2)
    await lab.restartRegistry(0)
    const backAt = performance.now()
    await lab.ready([...lab.echoes, await lab.startEcho()])
    const rejoined_ms = Math.round(performance.now() - backAt)
    await delay(1_000)
    const result = summary(await load.stop())
    const bar = '0 failed while the registry is down and an instance dies meanwhile'
    return { ok: result.failed === 0, ...result, down_ms: registryDownMs, rejoined_ms, bar }
  })

const failing =
  (failWith: { code: Code; reason: string }, mostFailed: number): Scenario =>
  () =>
    inLab({ echoes: 7 }, async (lab) => {
      const load = lab.load({ perSecond: 200 })
      await delay(WARM_UP_MS)
      await Promise.all(lab.echoes.slice(0, 2).map((echo) => lab.behave(echo, { failWith })))
      await delay(5_000)
      const result = summary(await load.stop())
      const ok = result.failed <= mostFailed && (mostFailed === 0 || result.heal_ms <= 6_000)
      return {
        ok,
        ...result,
        bar: `<= ${mostFailed} failed of the calls of 5 s while 2 of 7 fail all of theirs`,
      }
    })

const slow: Scenario = () =>
  inLab({ echoes: 3 }, async (lab) => {
    const delayMs = 300
    await lab.behave(first(lab.echoes), { delayMs })
    const load = lab.load({ perSecond: 200 })
    await delay(6_000)
    const calls = await load.stop()
    const slowCalls = calls.filter(({ startedAt, endedAt }) => endedAt - startedAt >= delayMs).length
    const slow_share = Number((slowCalls / calls.length).toFixed(4))
    const result = summary(calls)
    const ok = result.failed === 0 && slow_share <= 0.05
    return {
      ok,
      ...result,
      slow_share,
      bar: '0 failed, <= 5 % of the calls at the one of three that is slow',
    }
  })

/** In the order in which they run. */
export const meshScenarios: Readonly<Record<string, Scenario>> = {
  'kill-9': kill,
  sigstop: stop,
  'rolling-restart': rollingRestart,
  'registry-down': registryDown,
  'unavailable-30-percent': failing({ code: Code.UNAVAILABLE, reason: 'DEPENDENCY_UNAVAILABLE' }, 0),
  'errors-30-percent': failing({ code: Code.INTERNAL, reason: 'INTERNAL' }, 100),
  'slow-instance': slow,
}
