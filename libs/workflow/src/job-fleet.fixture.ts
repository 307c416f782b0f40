import { setTimeout as delay } from 'node:timers/promises'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { createLogger } from '@docmesh/telemetry/logger'
import { defineJob, type JobType } from './job.ts'
import { createWorkflows } from './workflows.ts'

/**
 * One node that runs jobs, a process that a test may kill: `node job-fleet.fixture.ts URL`. It says "up" on standard output
 * when it takes work, and ends on SIGTERM.
 */

/** No unique key: the tables show everything that was done. */
export const JOB_FLEET_TABLES = `
  create schema fleet;
  create table fleet.attempts (job text, node int);
  create table fleet.effects (job text, node int);
  create table fleet.told (job text, kind text)`

const WORK_MS = 300

export const fleetJob = (db: Postgres): JobType =>
  defineJob({
    type: 'fleet:work',
    check: (input) => input,
    async run({ jobId, transaction }) {
      await db.query('insert into fleet.attempts values ($1, $2)', [jobId, process.pid])
      await delay(WORK_MS)
      await transaction((tx) => tx.query('insert into fleet.effects values ($1, $2)', [jobId, process.pid]))
      await delay(WORK_MS)
    },
  })

if (import.meta.main) {
  const db = await openPostgres({ url: process.argv[2] ?? '', schema: 'fleet', poolMax: 4 })
  const workflows = await createWorkflows({
    db,
    pipelines: [],
    jobs: [fleetJob(db)],
    async onJob(tx, { id }, { kind }) {
      await tx.query('insert into fleet.told values ($1, $2)', [id, kind])
    },
    applicationVersion: 'v1',
    logger: createLogger({ service: 'fleet', version: '1', level: 'error' }),
  })
  process.once('SIGTERM', async () => {
    await workflows.stop()
    await db.close()
  })
  process.stdout.write('up\n')
}
