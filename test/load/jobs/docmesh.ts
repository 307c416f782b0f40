import { openPostgres } from '@docmesh/postgres'
import { silentLogger } from '@docmesh/telemetry'
import { createWorkflows, defineJob, type QueueOptions } from '@docmesh/workflow'
import type { Open } from './engine.ts'

const TYPE = 'bench:job'

export interface DocmeshSettings {
  readonly queue?: QueueOptions
  readonly enginePoolMax?: number
}

export const openDocmesh: Open<DocmeshSettings> = async ({ databaseUrl }, settings, handler) => {
  const { queue, enginePoolMax } = settings
  const db = await openPostgres({ url: databaseUrl, schema: 'bench' })
  await db.query('create schema if not exists bench')
  const job = defineJob<number>({
    type: TYPE,
    timeoutMs: 600_000,
    check: Number,
    run: ({ input }) => handler(input),
  })
  const { jobs } = await createWorkflows({
    db,
    pipelines: [],
    jobs: [job],
    applicationVersion: '1',
    logger: silentLogger,
    ...(queue && { queues: { jobs: queue } }),
    ...(enginePoolMax !== undefined && { enginePoolMax }),
  })
  return {
    async enqueue(number) {
      await jobs.enqueue(TYPE, number)
    },
    enqueueAll: (count) =>
      db.transaction(async (tx) => {
        for (let number = 0; number < count; number++) await jobs.enqueue(TYPE, number, { tx })
      }),
  }
}
