// The servers underneath fall while there is work, and come back with what they had kept.
import { setTimeout as delay } from 'node:timers/promises'
import { eventually } from '@docmesh/testing'
import { withRegistries } from '../mesh/stores.ts'
import { count, ENDED } from './kills.ts'
import type { Lab } from './lab.ts'
import { END_MS, type FleetScenario, failedOf, inFleet, settled } from './scenario.ts'

const PATIENCE = { timeoutMs: 120_000, intervalMs: 50 }
/** Of the early work that is done when the first server falls, and of all the work that is asked for while one is away. */
const FIRST_SHARE = 0.1
const DURING_SHARE = 0.5
/** The circuits of callers that met the outage close after 10 to 15 s. */
const HEAL_MS = 20_000

interface Outage {
  readonly server: 'postgres' | 'nats' | 'redis'
  /** In order: `kill` is SIGKILL, `stop` a fast shutdown. */
  readonly ends: readonly ('kill' | 'stop')[]
  /** What is back when it has healed; the work is to go on besides. */
  readonly isBack: (lab: Lab) => Promise<void>
}

const restarted =
  ({ server, ends, isBack }: Outage): FleetScenario =>
  ({ short }) => {
    const [analyses, downMs] = short ? [16, 1_000] : [120, 5_000]
    const bar = `${analyses} of ${analyses} complete although ${server} falls ${ends.length} times (${ends.join(', ')}) for ${downMs / 1_000} s, all is well ${HEAL_MS / 1_000} s after it is back, 0 violations`
    return inFleet({}, bar, async (lab) => {
      const { work } = lab
      const during = Math.floor((analyses * DURING_SHARE) / ends.length)
      const early = await work.upload(analyses - during * ends.length)
      const asked: string[] = []
      const ask = async (documents: readonly string[]): Promise<void> => {
        asked.push(...(await work.analyze(documents)))
      }
      const begunAt = performance.now()
      const asking = [ask(early)]
      const healed: number[] = []
      for (const [at, end] of ends.entries()) {
        await moreEnded(lab, early.length * FIRST_SHARE + during * at)
        await lab[server][end]()
        const uploading = work.upload(during)
        asking.push(uploading.then(ask))
        await delay(downMs)
        await lab[server].start()
        healed.push(await healMs(lab, { uploading, isBack }))
      }
      await Promise.all(asking)
      const ended = await work.ended(analyses, { timeoutMs: END_MS })
      const ended_ms = Math.round(performance.now() - begunAt)
      const failed = failedOf(analyses, ended)
      const found = await settled(lab, { asked })
      const heal_ms = Math.max(...healed)
      return {
        ok: failed === 0 && found.violation_count === 0 && heal_ms <= HEAL_MS,
        calls: analyses,
        failed,
        heal_ms,
        ...found,
        outages: healed.length,
        down_ms: downMs,
        asked_during: during * ends.length,
        repeated_calls: work.repeated(),
        ended_ms,
        bar,
      }
    })
  }

/** Milliseconds from the server's return until callers are served, the work goes on and all is as before. */
async function healMs(
  lab: Lab,
  { uploading, isBack }: Pick<Outage, 'isBack'> & { readonly uploading: Promise<unknown> },
): Promise<number> {
  const backAt = performance.now()
  const before = await eventually(() => count(lab.db, ENDED), PATIENCE)
  await Promise.all([uploading, moreEnded(lab, before + 1), isBack(lab)])
  return Math.round(performance.now() - backAt)
}

const moreEnded = (lab: Lab, wanted: number): Promise<void> =>
  eventually(async () => {
    if ((await count(lab.db, ENDED)) < wanted) throw new Error(`${wanted} analyses have not ended`)
  }, PATIENCE)

/** All that has been published so far is delivered. */
async function relayed({ db }: Lab): Promise<void> {
  const [latest] = await db.query<{ xid: string; position: bigint }>(
    'select xid::text, position from events.log order by xid desc, position desc limit 1',
  )
  await eventually(async () => {
    const cursors = await db.query(
      "select from events.cursors where name like 'relay:%' and (xid, position) >= ($1::xid8, $2)",
      [latest?.xid, latest?.position],
    )
    if (cursors.length === 0) throw new Error('events wait')
  }, PATIENCE)
}

const replicating = (lab: Lab): Promise<void> =>
  withRegistries(lab, async (registries) => {
    await eventually(async () => {
      const states = await Promise.all(registries.map((each) => each.getStatus({})))
      if (!states.every((state) => state.replicating)) throw new Error('a registry does not replicate')
    }, PATIENCE)
  })

export const postgresRestarted = restarted({ server: 'postgres', ends: ['kill', 'stop'], isBack: relayed })
export const natsRestarted = restarted({ server: 'nats', ends: ['kill'], isBack: relayed })
export const redisRestarted = restarted({ server: 'redis', ends: ['kill'], isBack: replicating })
