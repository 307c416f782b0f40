// Instances fall while they have work in hand.
import { seededRandom } from '../../../libs/mesh/src/endpoint.fixture.ts'
import { type Killed, kill, planKills } from './kills.ts'
import type { Lab } from './lab.ts'
import { END_MS, type FleetScenario, failedOf, inFleet, settled } from './scenario.ts'

const INSTANCES = 2
const HEAL_MS = 2_000

export const analysesKilled: FleetScenario = ({ short, seed }) => {
  const [analyses, kills] = short ? [20, 4] : [200, 20]
  const bar = `${analyses} of ${analyses} complete through ${kills} kills, what a killed instance had is taken over within 2 s, 0 violations`
  return inFleet({ instances: INSTANCES }, bar, async (lab) => {
    const documents = await lab.work.upload(analyses)
    const plan = planKills(kills, { analyses, instances: INSTANCES, random: seededRandom(seed) })
    const begunAt = performance.now()
    const [asked, killed] = await Promise.all([lab.work.analyze(documents), kill(lab, plan)])
    const ended = await lab.work.ended(analyses, { timeoutMs: END_MS })
    const ended_ms = Math.round(performance.now() - begunAt)
    const failed = failedOf(analyses, ended)
    const found = await settled(lab, { asked })
    const heal_ms = healMs(killed)
    return {
      ok: failed === 0 && found.violation_count === 0 && heal_ms <= HEAL_MS,
      calls: analyses,
      failed,
      heal_ms,
      ...found,
      ...(await killedIn(lab, killed)),
      ended_ms,
      seed,
      bar,
    }
  })
}

export const batchesKilled: FleetScenario = ({ short, seed }) => {
  const [batches, perBatch, singles, queued, kills] = short ? [2, 6, 6, 6, 4] : [5, 24, 40, 40, 24]
  const analyses = batches * perBatch + singles + queued
  const bar = `${analyses} of ${analyses} complete through ${kills} kills (${batches} batches of ${perBatch}, ${queued} by jobs, ${singles} single) while uploads go on, taken over within 2 s, 0 violations`
  return inFleet({ instances: INSTANCES }, bar, async (lab) => {
    const { work } = lab
    const over = new AbortController()
    const plan = planKills(kills, { analyses, instances: INSTANCES, random: seededRandom(seed) })
    const killing = kill(lab, plan).finally(() => over.abort())
    const begunAt = performance.now()
    const [asked, jobs, batchIds, killed, impatient] = await Promise.all([
      work.upload(singles).then((documents) => work.analyze(documents)),
      work.upload(queued).then((documents) => work.enqueue(documents)),
      Promise.all(Array.from({ length: batches }, async () => work.batch(await work.upload(perBatch)))),
      killing,
      work.uploadImpatiently(over.signal),
    ])
    const ended = await work.ended(analyses, { timeoutMs: END_MS })
    const ended_ms = Math.round(performance.now() - begunAt)
    const failed = failedOf(analyses, ended)
    const found = await settled(lab, { asked, jobs, batches: batchIds })
    const heal_ms = healMs(killed)
    return {
      ok: failed === 0 && found.violation_count === 0 && heal_ms <= HEAL_MS,
      calls: analyses,
      failed,
      heal_ms,
      ...found,
      ...(await killedIn(lab, killed)),
      uploads_beside: impatient.stored,
      uploads_given_up: impatient.givenUp,
      ended_ms,
      seed,
      bar,
    }
  })
}

const healMs = (killed: readonly Killed[]): number => Math.max(...killed.map((each) => each.healMs))

async function killedIn(lab: Lab, killed: readonly Killed[]) {
  const mails = lab.mails()
  const takenOver = await lab.db.query('select from analysis_workflow.runs where begun > 1')
  return {
    kills: killed.length,
    killed: Object.fromEntries(
      [...Map.groupBy(killed, ({ service }) => service)].map(([service, all]) => [service, all.length]),
    ),
    taken_over: takenOver.length,
    open_at_last_kill: killed.at(-1)?.open ?? 0,
    repeated_calls: lab.work.repeated(),
    repeated_mails: mails.length - new Set(mails).size,
  }
}
