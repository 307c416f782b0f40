// An instance stops in the middle of its work and comes back when others have done it: a zombie.
import { setTimeout as delay } from 'node:timers/promises'
import type { Queryable } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import type { Lab } from './lab.ts'
import { END_MS, type FleetScenario, failedOf, inFleet, settled } from './scenario.ts'

const INSTANCES = 2
const FREEZE_MS = 10_000
/** The heartbeats of five seconds that others wait for, and the time of one look. */
const HEAL_MS = 7_000
const MAX_WAVES = 20
const WAVE = 4
const PATIENCE = { timeoutMs: 120_000, intervalMs: 20 }

/** Runs in hand by the node that has them. */
const IN_HAND = `select executor_id as node, split_part(workflow_uuid, ':', 1) as run
  from analysis_dbos.workflow_status where status = 'PENDING'`
const RUNS = `select id, state, revision, begun, updated_at from analysis_workflow.runs where id = any ($1) order by id`

interface Run {
  readonly id: string
  readonly state: string
  readonly revision: number
  readonly begun: number
  readonly updated_at: Date
}

export const workerFrozen: FleetScenario = ({ short }) => {
  const analyses = short ? 24 : 160
  const bar = `what a frozen instance had in hand is taken over within ${HEAL_MS / 1_000} s and completes elsewhere before it wakes; then it writes nothing of that and serves again; ${analyses} of ${analyses} complete, 0 violations`
  return inFleet({ instances: INSTANCES }, bar, async (lab) => {
    const { db, work } = lab
    const asked = [...(await work.analyze(await work.upload(analyses)))]
    await allBusy(db)
    const [victim] = lab.services.analysis
    const frozenAt = performance.now()
    await victim?.freeze()
    const before = await db.query<{ node: string; run: string }>(IN_HAND)
    const node = await silentNode(db)
    const inHand = before.filter((each) => each.node === node).map(({ run }) => run)
    await nothingInHand(db, node)
    const heal_ms = Math.round(performance.now() - frozenAt)
    await allEnded(db, inHand)
    await delay(FREEZE_MS - (performance.now() - frozenAt))
    const meanwhile = await db.query<Run>(RUNS, [inHand])
    const frozen_ms = Math.round(performance.now() - frozenAt)
    victim?.thaw()

    const served_after = await workOf(lab, node, asked)
    const ended = await work.ended(asked.length, { timeoutMs: END_MS })
    const failed = failedOf(asked.length, ended)
    const found = await settled(lab, { asked })
    const zombie_writes = differences(meanwhile, await db.query<Run>(RUNS, [inHand]))
    const taken_over = meanwhile.filter(({ begun }) => begun > 1).length
    const ok =
      failed === 0 &&
      found.violation_count === 0 &&
      heal_ms <= HEAL_MS &&
      taken_over > 0 &&
      zombie_writes === 0 &&
      served_after > 0
    return {
      ok,
      calls: asked.length,
      failed,
      heal_ms,
      ...found,
      in_hand: inHand.length,
      taken_over,
      zombie_writes,
      served_after,
      frozen_ms,
      bar,
    }
  })
}

/** Resolves when every node has work in hand. */
const allBusy = (db: Queryable): Promise<void> =>
  eventually(async () => {
    const busy = new Set((await db.query<{ node: string }>(IN_HAND)).map(({ node }) => node))
    if (busy.size < INSTANCES) throw new Error('a node has no work')
  }, PATIENCE)

/** The one node whose heart does not beat. */
async function silentNode(db: Queryable): Promise<string> {
  const beats = async () => {
    const rows = await db.query<{ id: string; beat_at: Date }>(
      'select id, beat_at from analysis_workflow.nodes',
    )
    return new Map(rows.map(({ id, beat_at }) => [id, beat_at.getTime()]))
  }
  const before = await beats()
  return eventually(async () => {
    const now = await beats()
    const silent = [...before].filter(([id, at]) => (now.get(id) ?? at) === at).map(([id]) => id)
    if (silent.length !== 1 || !silent[0]) throw new Error(`${silent.length} nodes are silent`)
    return silent[0]
  }, PATIENCE)
}

const nothingInHand = (db: Queryable, node: string): Promise<void> =>
  eventually(async () => {
    const left = (await db.query<{ node: string }>(IN_HAND)).filter((each) => each.node === node).length
    if (left > 0) throw new Error(`${left} runs are in the hands of a frozen node`)
  }, PATIENCE)

const allEnded = (db: Queryable, ids: readonly string[]): Promise<void> =>
  eventually(async () => {
    const open = (await db.query<Run>(RUNS, [ids])).filter(({ state }) => state !== 'completed')
    if (open.length > 0) throw new Error(`${open.length} runs have not completed`)
  }, PATIENCE)

/** Asks for more analyses until the node has had one of them, and adds them to `asked`; how many it had. */
async function workOf({ db, work }: Lab, node: string, asked: string[]): Promise<number> {
  for (let wave = 0; wave < MAX_WAVES; wave++) {
    const more = await work.analyze(await work.upload(WAVE))
    asked.push(...more)
    await work.ended(asked.length, { timeoutMs: END_MS })
    const had = await db.query(
      `select from analysis_dbos.workflow_status where executor_id = $1 and split_part(workflow_uuid, ':', 1) = any ($2)`,
      [node, more],
    )
    if (had.length > 0) return had.length
  }
  return 0
}

const differences = (before: readonly Run[], after: readonly Run[]): number =>
  before.filter((run, at) => JSON.stringify(run) !== JSON.stringify(after[at])).length
