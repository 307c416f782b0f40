import { fakeClock } from '@docmesh/testing'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { doing, healingWorld } from './world.fixture.ts'

const TARGETS = ['a', 'b', 'c']
const CHECKS = ['health', 'memory']
const SECONDS = 150

/** For each second, whether each check passes; and how long an action takes, and whether it works. */
const course = fc.array(
  fc.record({
    pass: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
    actionMs: fc.integer({ min: 0, max: 12_000 }),
    fails: fc.boolean(),
  }),
  { minLength: SECONDS, maxLength: SECONDS },
)

it('never passes the cap, and never mends one target twice at once, however checks flap and actions fail', async () => {
  await fc.assert(
    fc.asyncProperty(
      course,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 5_000, max: 60_000 }),
      async (seconds, perTarget, inAll, windowMs) => {
        const now = () => seconds[Math.min(SECONDS - 1, Math.floor(world.clock.now() / 1_000))]
        const begun: { target: string; atMs: number }[] = []
        const working = new Set<string>()
        const act = async (target: string, signal: AbortSignal): Promise<void> => {
          expect(working.has(target)).toBe(false)
          working.add(target)
          begun.push({ target, atMs: world.clock.now() })
          const { actionMs = 0, fails = false } = now() ?? {}
          await new Promise<void>((resolve) => {
            world.clock.setTimeout(resolve, actionMs)
            signal.addEventListener('abort', () => resolve())
          })
          working.delete(target)
          if (fails) throw new Error('it failed')
        }
        const world = healingWorld(fakeClock(), {
          perTarget,
          inAll,
          windowMs,
          cooldownMs: 1,
          actionTimeoutMs: 8_000,
          actions: [
            doing('restart', act),
            doing('add', act, { undoAfterMs: 3_000, rollback: async () => {} }),
          ],
          strategies: [{ steps: [['add', 'restart'], ['restart']], escalation: 'high' }],
        })
        for (const [at, target] of TARGETS.entries()) {
          for (const [which, name] of CHECKS.entries()) {
            const run = async () => ({ healthy: now()?.pass[at * 2 + which] ?? true, detail: '' })
            world.healing.watch({
              name,
              target,
              criticality: 'high',
              intervalMs: 1_000,
              timeoutMs: 500,
              failuresBefore: 1,
              run,
            })
          }
        }
        await world.advance(SECONDS * 1_000, 1_000)
        await world.healing.stop()

        // What the healing says it does, undoing included, is what may not pass the cap.
        const actions = world.events.filter((event) => event.kind === 'started')
        expect(actions.length).toBeGreaterThanOrEqual(begun.length)
        for (const { atMs } of actions) {
          const within = actions.filter((each) => each.atMs >= atMs && each.atMs < atMs + windowMs)
          expect(within.length).toBeLessThanOrEqual(inAll)
          for (const target of TARGETS) {
            const here = within.filter(({ check }) => check.endsWith(`/${target}`))
            expect(here.length).toBeLessThanOrEqual(perTarget)
          }
        }
        // Each recovery that began an action ended before the next one of its target began.
        for (const target of TARGETS) {
          let open: string | undefined
          for (const event of world.events) {
            if (event.kind === 'checked' || !event.check.endsWith(`/${target}`)) continue
            if (event.kind === 'completed') open = undefined
            else {
              expect(open ?? event.recoveryId).toBe(event.recoveryId)
              open = event.recoveryId
            }
          }
        }
      },
    ),
    { numRuns: 40 },
  )
}, 60_000)
