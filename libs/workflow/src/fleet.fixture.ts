import { setTimeout as delay } from 'node:timers/promises'
import { openPostgres, type Postgres, type Queryable } from '@docmesh/postgres'
import { createLogger } from '@docmesh/telemetry/logger'
import { definePipeline, type Pipeline, type StepContext } from './pipeline.ts'
import { createWorkflows } from './workflows.ts'

/**
 * One node of a fleet, a process that a test may kill or freeze: `node fleet.fixture.ts URL`. It says "up" on standard
 * output when it takes work, and ends on SIGTERM.
 */

export const STEPS = ['extract', 'rules', 'consolidate', 'notify'] as const
const STEP_MS = 150

/** No unique key: the tables show everything that was done. */
export const FLEET_TABLES = `
  create schema fleet;
  create table fleet.effects (run text, step text, node int, at timestamptz default clock_timestamp());
  create table fleet.attempts (run text, step text, node int, at timestamptz default clock_timestamp());
  create table fleet.refusals (run text, step text, node int, at timestamptz default clock_timestamp())`

type Outputs = Record<(typeof STEPS)[number], number>

function fleetPipeline(db: Postgres): Pipeline<null, Outputs> {
  const log = (on: Queryable, table: string, { runId }: { runId: string }, step: string): Promise<unknown> =>
    on.query(`insert into fleet.${table} (run, step, node) values ($1, $2, $3)`, [runId, step, process.pid])
  const run = (name: string) => async (step: StepContext<null, Outputs>) => {
    await log(db, 'attempts', step, name)
    await delay(STEP_MS)
    try {
      return await step.transaction(async (tx) => {
        await log(tx, 'effects', step, name)
        return process.pid
      })
    } catch (error) {
      if (error instanceof Error && error.name === 'OwnershipLost') await log(db, 'refusals', step, name)
      throw error
    }
  }
  return definePipeline<null, Outputs>({
    name: 'fleet',
    version: '1',
    queue: 'fleet',
    steps: STEPS.map((name) => ({ name, timeoutMs: 60_000, run: run(name) })),
  })
}

if (import.meta.main) {
  const url = process.argv[2] ?? ''
  const logger = createLogger({ service: 'fleet', version: '1', level: 'error' })
  const db = await openPostgres({ url, schema: 'fleet', poolMax: 4 })
  const workflows = await createWorkflows({
    db,
    pipelines: [fleetPipeline(db)],
    applicationVersion: 'v1',
    logger,
    queues: { fleet: { concurrency: 3 } },
  })
  process.once('SIGTERM', async () => {
    await workflows.stop()
    await db.close()
  })
  process.stdout.write('up\n')
}
