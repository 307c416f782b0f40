import { type ConstructorOptions, PgBoss, type Queue, type WorkOptions } from 'pg-boss'
import type { Open } from './engine.ts'

const QUEUE = 'bench'

export interface PgBossSettings {
  readonly boss?: ConstructorOptions
  readonly queue?: Omit<Queue, 'name'>
  readonly work?: WorkOptions
}

export const openPgBoss: Open<PgBossSettings> = async (
  { databaseUrl },
  { boss: options = {}, queue = {}, work = {} },
  handler,
) => {
  const boss = new PgBoss({ connectionString: databaseUrl, ...options })
  boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
  await boss.start()
  await boss.createQueue(QUEUE, queue)
  await boss.work<{ number: number }>(QUEUE, work, async (jobs) => {
    await Promise.all(jobs.map(({ data }) => handler(data.number)))
  })
  return {
    async enqueue(number) {
      await boss.send(QUEUE, { number })
    },
    async enqueueAll(count) {
      await boss.insert(
        QUEUE,
        Array.from({ length: count }, (_, number) => ({ data: { number } })),
      )
    },
  }
}
