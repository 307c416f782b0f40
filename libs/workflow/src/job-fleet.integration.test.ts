import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { silentLogger } from '@docmesh/telemetry'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fleetJob, JOB_FLEET_TABLES } from './job-fleet.fixture.ts'
import { createWorkflows } from './workflows.ts'

const JOBS = 12

let database: TestDatabase
let db: Postgres
const fleet = new Set<ChildProcess>()

beforeAll(async () => {
  database = await testDatabase()
  db = await openPostgres({ url: database.url, schema: 'fleet', poolMax: 2 })
  await db.query(JOB_FLEET_TABLES)
})

afterAll(async () => {
  for (const node of fleet) node.kill('SIGKILL')
  await db.close()
  await database.close()
})

async function startNode(): Promise<ChildProcess> {
  const fixture = fileURLToPath(new URL('./job-fleet.fixture.ts', import.meta.url))
  const node = spawn(process.execPath, [fixture, database.url], { stdio: ['ignore', 'pipe', 'inherit'] })
  fleet.add(node)
  const [code] = await Promise.race([once(node.stdout as NodeJS.ReadableStream, 'data'), once(node, 'exit')])
  if (typeof code === 'number') throw new Error(`the node ended with ${code}`)
  return node
}

/** Jobs of a schedule that comes once a year, all of them due now. */
async function enqueue(): Promise<void> {
  const workflows = await createWorkflows({
    db,
    pipelines: [],
    jobs: [fleetJob(db)],
    applicationVersion: 'v1',
    logger: silentLogger,
  })
  for (let index = 0; index < JOBS; index++)
    await workflows.jobs.enqueue('fleet:work', index, { tenant: `t${index % 3}`, cron: '0 0 1 1 *' })
  await workflows.stop()
  await db.query("update fleet_dbos.workflow_status set delay_until_epoch_ms = 0 where status = 'DELAYED'")
}

test('a node killed with jobs in hand: each has its effect once, one next run, and is told of once', async () => {
  await enqueue()
  const [first] = await Promise.all([startNode(), startNode()])
  await eventually(async () => {
    const rows = await db.query(
      `select from fleet.attempts a where node = $1 and not exists (select from fleet.effects e where e.job = a.job)`,
      [first.pid],
    )
    expect(rows.length).toBeGreaterThan(0)
  })
  first.kill('SIGKILL')
  fleet.delete(first)

  await eventually(
    async () => {
      const states = await db.query(
        `select state, count(*)::int from fleet_workflow.runs group by state order by state`,
      )
      expect(states).toEqual([
        { state: 'completed', count: JOBS },
        { state: 'queued', count: JOBS },
      ])
    },
    { timeoutMs: 30_000, intervalMs: 100 },
  )
  const series = await db.query(
    'select series, count(*)::int as runs, count(*) filter (where ended_at is null)::int as open from fleet_workflow.runs group by series',
  )
  expect(series).toHaveLength(JOBS)
  expect(new Set(series.map(({ runs, open }) => `${runs} ${open}`))).toEqual(new Set(['2 1']))

  const effects = await db.query<{ job: string }>('select job from fleet.effects')
  expect(effects).toHaveLength(JOBS)
  expect(new Set(effects.map(({ job }) => job)).size).toBe(JOBS)
  const again = await db.query('select job from fleet.attempts group by job having count(*) > 1')
  expect(again.length).toBeGreaterThan(0)
  // The first runs were queued by a node that tells nobody.
  const told = await db.query(
    'select kind, count(*)::int, count(distinct job)::int as jobs from fleet.told group by kind order by kind',
  )
  expect(told).toEqual(['completed', 'queued', 'started'].map((kind) => ({ kind, count: JOBS, jobs: JOBS })))
}, 60_000)
