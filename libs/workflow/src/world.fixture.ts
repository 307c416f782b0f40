import { openPostgres, type Postgres, type Queryable } from '@docmesh/postgres'
import { silentLogger } from '@docmesh/telemetry'
import { testDatabase } from '@docmesh/testing'
import type { Workflows, WorkflowsOptions } from './options.ts'
import { definePipeline, type Pipeline, type StepContext } from './pipeline.ts'
import type { Run } from './run.ts'
import { createWorkflows } from './workflows.ts'

/** A database of its own, one node on it at a time, and a table that shows what steps did. */
export interface World {
  readonly url: string
  readonly db: Postgres
  /** Joins as a node; the one before leaves. */
  join(options: Partial<WorkflowsOptions> & Pick<WorkflowsOptions, 'pipelines'>): Promise<Workflows>
  /** The run once it has ended. */
  ended(id: string): Promise<Run>
  effectsOf(run: string): Promise<string[]>
  leave(): Promise<void>
  close(): Promise<void>
}

export async function openWorld(): Promise<World> {
  const database = await testDatabase()
  const db = await openPostgres({ url: database.url, schema: 'app', poolMax: 6 })
  await db.query(
    'create schema app; create table effects (id bigint generated always as identity, run text, what text)',
  )
  let workflows: Workflows | undefined
  const leave = async (): Promise<void> => {
    await workflows?.stop()
    workflows = undefined
  }
  return {
    url: database.url,
    db,
    async join(options) {
      await leave()
      workflows = await createWorkflows({ db, applicationVersion: 'v1', logger: silentLogger, ...options })
      return workflows
    },
    async ended(id) {
      let last: Run | undefined
      for await (const run of workflows?.watch(id, AbortSignal.timeout(15_000)) ?? []) last = run
      if (!last) throw new Error(`no run ${id}`)
      return last
    },
    async effectsOf(run) {
      const rows = await db.query<{ what: string }>('select what from effects where run = $1 order by id', [
        run,
      ])
      return rows.map(({ what }) => what)
    },
    leave,
    async close() {
      await leave()
      await db.close()
      await database.close()
    },
  }
}

/** The effect of a step: a row that says what it did. */
export const record =
  (run: string, what: string) =>
  async (tx: Queryable): Promise<string> => {
    await tx.query('insert into effects (run, what) values ($1, $2)', [run, what])
    return what
  }

/** A pipeline of one step: a job. */
export const job = (
  name: string,
  run: (step: StepContext<unknown, { work: unknown }>) => Promise<unknown>,
  options: { queue?: string; retry?: 'none' | 'any' } = {},
): Pipeline<unknown, { work: unknown }> => {
  const { queue = 'default', retry = 'none' } = options
  return definePipeline<unknown, { work: unknown }>({
    name,
    version: '1',
    queue,
    steps: [{ name: 'work', timeoutMs: 10_000, retry, run }],
  })
}

/** Something that a step waits for and a test gives. */
export function gate(): {
  readonly reached: Promise<void>
  pass(signal: AbortSignal): Promise<void>
  open(): void
} {
  let reach = (): void => {}
  let release = (): void => {}
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  const opened = new Promise<void>((resolve) => {
    release = resolve
  })
  return {
    reached,
    open: () => release(),
    pass(signal) {
      reach()
      if (signal.aborted) return Promise.reject(signal.reason)
      return Promise.race([
        opened,
        new Promise<never>((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
        ),
      ])
    },
  }
}
