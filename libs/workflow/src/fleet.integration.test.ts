import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dispatchId } from './dispatches.ts'
import { FLEET_TABLES, STEPS } from './fleet.fixture.ts'

const RUNS = 150
const FREEZE_MS = 7_000

let database: TestDatabase
let db: Postgres
const fleet = new Set<ChildProcess>()

beforeAll(async () => {
  database = await testDatabase()
  db = await openPostgres({ url: database.url, schema: 'fleet', poolMax: 2 })
  await db.query(FLEET_TABLES)
})

afterAll(async () => {
  for (const node of fleet) node.kill('SIGKILL')
  await db.close()
  await database.close()
})

async function startNode(): Promise<ChildProcess> {
  const fixture = fileURLToPath(new URL('./fleet.fixture.ts', import.meta.url))
  const node = spawn(process.execPath, [fixture, database.url], { stdio: ['ignore', 'pipe', 'inherit'] })
  fleet.add(node)
  const [code] = await Promise.race([once(node.stdout as NodeJS.ReadableStream, 'data'), once(node, 'exit')])
  if (typeof code === 'number') throw new Error(`the node ended with ${code}`)
  return node
}

/** Stops the node in the middle of a step, so that what happens to it next hurts. */
const freeze = (node: ChildProcess): Promise<void> =>
  eventually(async () => {
    if (!(await isBusy(node))) throw new Error('idle')
    node.kill('SIGSTOP')
    if (await isBusy(node)) return
    node.kill('SIGCONT')
    throw new Error('between two steps')
  })

async function isBusy(node: ChildProcess): Promise<boolean> {
  const rows = await db.query(
    `select from fleet.attempts a where node = $1 and not exists (
       select from fleet.effects e where e.run = a.run and e.step = a.step)`,
    [node.pid],
  )
  return rows.length > 0
}

/** From now until another node is at a step that this one was at. */
async function pickUpMs(node: ChildProcess, since: number): Promise<number> {
  return eventually(
    async () => {
      const [row] = await db.query(
        `select from fleet.attempts a join fleet.attempts b on b.run = a.run and b.step = a.step and b.node <> a.node and b.at > a.at
         where a.node = $1`,
        [node.pid],
      )
      if (!row) throw new Error('nobody has it yet')
      return Math.round(performance.now() - since)
    },
    { timeoutMs: 15_000 },
  )
}

async function kill(node: ChildProcess): Promise<number> {
  await freeze(node)
  const at = performance.now()
  node.kill('SIGKILL')
  fleet.delete(node)
  return pickUpMs(node, at)
}

/** Starts runs as a service would, but without being a node itself. */
async function startRuns(): Promise<void> {
  for (let index = 0; index < RUNS; index++) {
    const runId = `run-${index}`
    await db.transaction(async (tx) => {
      await tx.query(
        `insert into fleet_workflow.runs (id, pipeline, version, tenant, queue, priority, app_version, state, input)
         values ($1, 'fleet', '1', '', 'fleet', 'normal', 'v1', 'queued', 'null')`,
        [runId],
      )
      await tx.query(
        `select fleet_dbos.enqueue_workflow('docmesh.run', 'fleet', array[to_json($1::text), to_json(1)], workflow_id => $2,
           app_version => 'v1', queue_partition_key => '-')`,
        [runId, dispatchId({ runId, number: 1 })],
      )
    })
  }
}

test('two nodes killed and one frozen: every run completes, each effect happens once, the zombie writes nothing', async () => {
  const [first, second, third] = await Promise.all([startNode(), startNode(), startNode()])
  await startRuns()

  const firstPickUpMs = await kill(first)
  await startNode()

  await freeze(second)
  const frozenAt = performance.now()
  const secondPickUpMs = await kill(third)
  await startNode()
  const frozenPickUpMs = await pickUpMs(second, frozenAt)
  await delay(Math.max(0, FREEZE_MS - (performance.now() - frozenAt)))
  second.kill('SIGCONT')

  await eventually(
    async () => {
      const states = await db.query('select state, count(*)::int from fleet_workflow.runs group by state')
      expect(states).toEqual([{ state: 'completed', count: RUNS }])
    },
    { timeoutMs: 30_000, intervalMs: 100 },
  )

  const effects = await db.query('select run, step from fleet.effects')
  expect(effects).toHaveLength(RUNS * STEPS.length)
  expect(await db.query('select distinct run, step from fleet.effects')).toHaveLength(RUNS * STEPS.length)

  // The zombie came back in the middle of its steps and tried: it was refused, and others have done those steps.
  const refused = await eventually(async () => {
    const rows = await db.query<{ run: string; step: string }>(
      'select run, step from fleet.refusals where node = $1',
      [second.pid],
    )
    if (rows.length === 0) throw new Error('the zombie has not tried yet')
    return rows
  })
  const byZombie = await db.query(
    `select from fleet.effects e join fleet.refusals r using (run, step, node) where node = $1`,
    [second.pid],
  )
  expect(byZombie).toEqual([])
  const [repeated] = await db.query<{ count: number }>(
    `select count(*)::int from (select from fleet.attempts group by run, step having count(*) > 1) as again`,
  )
  process.stderr.write(
    `fleet: ${RUNS} runs; kill -9 to the step running again ${firstPickUpMs} ms and ${secondPickUpMs} ms, ` +
      `freeze ${frozenPickUpMs} ms; steps done again ${repeated?.count}; zombie refused ${refused.length} times\n`,
  )
}, 60_000)
