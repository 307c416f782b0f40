// What the library costs: memory and time to join, from start() to the first step on an idle node, and runs of four
// empty steps per second through one node.
import { setTimeout as delay } from 'node:timers/promises'
import { openPostgres } from '@docmesh/postgres'
import { silentLogger } from '@docmesh/telemetry'
import { testDatabase } from '@docmesh/testing'

const IDLE_RUNS = 50
const LOAD_RUNS = 1_000
const NAMES = ['extract', 'rules', 'consolidate', 'notify'] as const

const rssMb = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().rss / 1e6
}
const tenth = (value: number): number => Math.round(value * 10) / 10

await using database = await testDatabase()
await using db = await openPostgres({ url: database.url, schema: 'bench', poolMax: 8 })
await db.query('create schema bench')
const before = rssMb()
let at = performance.now()
// Loaded here so that what it adds can be told from what was there.
const { createWorkflows, definePipeline } = await import('./index.ts')
const importMs = performance.now() - at

const begunAt = new Map<string, number>()
const pipeline = definePipeline<null, Record<(typeof NAMES)[number], null>>({
  name: 'empty',
  version: '1',
  steps: NAMES.map((name) => ({
    name,
    timeoutMs: 10_000,
    async run({ runId }) {
      if (!begunAt.has(runId)) begunAt.set(runId, performance.now())
      return null
    },
  })),
})
const join = async (): Promise<{ workflows: Awaited<ReturnType<typeof createWorkflows>>; ms: number }> => {
  at = performance.now()
  const workflows = await createWorkflows({
    db,
    pipelines: [pipeline],
    applicationVersion: '1',
    logger: silentLogger,
    queues: { default: { concurrency: 16 } },
  })
  return { workflows, ms: performance.now() - at }
}
const first = await join()
await first.workflows.stop()
const { workflows, ms: joinMs } = await join()
const joinedMb = rssMb() - before
await delay(1_500)

const dispatchMs: number[] = []
for (let index = 0; index < IDLE_RUNS; index++) {
  at = performance.now()
  const { run } = await workflows.start(pipeline, null)
  for await (const _ of workflows.watch(run.id, AbortSignal.timeout(10_000)));
  dispatchMs.push((begunAt.get(run.id) ?? Number.NaN) - at)
}
dispatchMs.sort((a, b) => a - b)

await db.transaction(async (tx) => {
  for (let index = 0; index < LOAD_RUNS; index++) await workflows.start(pipeline, null, { tx })
})
at = performance.now()
for (;;) {
  const { runs } = await workflows.stats()
  if ((runs.find(({ state }) => state === 'completed')?.count ?? 0) >= LOAD_RUNS + IDLE_RUNS) break
  await delay(50)
}
const loadMs = performance.now() - at
const line = {
  bench: 'workflows',
  import_ms: tenth(importMs),
  first_join_ms: tenth(first.ms),
  join_ms: tenth(joinMs),
  rss_added_mb: tenth(joinedMb),
  rss_after_load_mb: tenth(rssMb() - before),
  dispatch_p50_ms: tenth(dispatchMs[IDLE_RUNS / 2] ?? 0),
  dispatch_max_ms: tenth(dispatchMs.at(-1) ?? 0),
  runs_per_second: tenth((LOAD_RUNS / loadMs) * 1_000),
}
process.stdout.write(`${JSON.stringify(line)}\n`)
await workflows.stop()
