import { createRequire } from 'node:module'
import { type ConnectionOptions, Queue, Worker, type WorkerOptions } from 'bullmq'
import type { Open, Place } from './engine.ts'

const QUEUE = 'bench'

/** BullMQ brings no Redis client and takes the one that it is given: that of the registry. */
const { Redis } = createRequire(new URL('../../../services/registry/package.json', import.meta.url))(
  'ioredis',
) as { Redis: new (options: object) => ConnectionOptions & { quit(): Promise<unknown> } }

/** Its workers ask for commands that wait as long as it takes. */
const connect = ({ redis }: Place) => new Redis({ ...redis, maxRetriesPerRequest: null })

export type BullMqSettings = Partial<WorkerOptions>

export const openBullMq: Open<BullMqSettings> = async (place, settings, handler) => {
  const { prefix } = place
  const connection = connect(place)
  const queue = new Queue<number>(QUEUE, { connection, prefix })
  const worker = new Worker<number>(QUEUE, ({ data }) => handler(data), {
    connection: connect(place),
    prefix,
    ...settings,
  })
  worker.on('error', (error) => process.stderr.write(`BullMQ: ${error.message}\n`))
  await worker.waitUntilReady()
  return {
    async enqueue(number) {
      await queue.add('job', number)
    },
    async enqueueAll(count) {
      await queue.addBulk(Array.from({ length: count }, (_, data) => ({ name: 'job', data })))
    },
  }
}

/** Removes every key of the place. */
export async function cleanBullMq(place: Place): Promise<void> {
  const { prefix } = place
  const connection = connect(place)
  const queue = new Queue(QUEUE, { connection, prefix })
  await queue.obliterate({ force: true })
  await queue.close()
  await connection.quit()
}
