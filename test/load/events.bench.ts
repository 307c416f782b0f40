// From the change to the handler: `npm run bench:events`. An event is appended in a transaction of its own, at a fixed
// rate whatever came of those before; its time runs from when it was due until its handler begins. One line of JSON for
// each delivery, which take turns.
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { DocumentCreated } from '@docmesh/contracts/document/v1/events'
import { connectEvents, type Events } from '@docmesh/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { deleteStreams, testDatabase } from '@docmesh/testing'

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    'bar-ms': { type: 'string', default: '10' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    'npm run bench:events -- [--rate 200] [--rounds 5] [--seconds 5] [--bar-ms 10]; NATS_URL says where NATS is\n',
  )
  process.exit(0)
}

const ratePerS = Number(values.rate)
const perRound = ratePerS * Number(values.seconds)
const natsUrl = process.env.NATS_URL ?? 'nats://127.0.0.1:4222'
const ROUND_GRACE_MS = 30_000
const AGGREGATES = 50

interface Bench {
  readonly delivery: string
  /** Events of one round; resolves with the milliseconds of each, in no order. */
  round(count: number): Promise<number[]>
}

/** Writer and subscriber with a pool each, as two services have. */
async function openBench(
  stack: AsyncDisposableStack,
  delivery: string,
  natsUrl: string | undefined,
): Promise<Bench> {
  const { url } = stack.use(await testDatabase())
  const stream = `BENCH${randomBytes(5).toString('hex')}`
  if (natsUrl) stack.defer(() => deleteStreams(natsUrl, [stream, `${stream}_DLQ`]))
  const open = async (): Promise<{ db: Postgres; events: Events }> => {
    const db = stack.use(await openPostgres({ url, schema: 'public' }))
    return { db, events: stack.use(await connectEvents({ db, natsUrl, stream })) }
  }
  const writer = await open()
  const reader = await open()
  await writer.db.query('create table effects (event text primary key)')

  let due = new Map<string, number>()
  let took: number[] = []
  let done = (): void => {}
  reader.events.subscribe({
    subscriber: 'bench',
    events: [DocumentCreated],
    handler: async ({ id, payload: { documentId } }, tx) => {
      const dueAt = due.get(documentId)
      if (dueAt !== undefined) took.push(performance.now() - dueAt)
      await tx.query('insert into effects values ($1)', [id])
      due.delete(documentId)
      if (due.size === 0) done()
    },
  })

  const append = (documentId: string, index: number) =>
    writer.db.transaction((tx) =>
      writer.events.publish(tx, DocumentCreated, DocumentCreated.fromPartial({ documentId }), {
        aggregateType: 'document',
        aggregateId: `d${index % AGGREGATES}`,
      }),
    )

  return {
    delivery,
    async round(count) {
      const begun = performance.now() + 100
      due = new Map(
        Array.from({ length: count }, (_, index) => [
          randomBytes(8).toString('hex'),
          begun + (index * 1_000) / ratePerS,
        ]),
      )
      took = []
      const handled = new Promise<void>((resolve) => {
        done = resolve
      })
      const appended: Promise<unknown>[] = []
      for (const [index, [documentId, dueAt]] of [...due].entries()) {
        const leftMs = dueAt - performance.now()
        if (leftMs > 0) await delay(leftMs)
        appended.push(append(documentId, index))
      }
      await Promise.all(appended)
      await Promise.race([handled, delay(ROUND_GRACE_MS, undefined, { ref: false })])
      return took
    },
  }
}

const quantile = (sorted: readonly number[], q: number): number =>
  Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(2))
const ascending = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b)

await using stack = new AsyncDisposableStack()
const benches = [await openBench(stack, 'postgres', undefined), await openBench(stack, 'jetstream', natsUrl)]
const rounds = new Map(benches.map(({ delivery }) => [delivery, [] as number[][]]))
for (const { round } of benches) await round(ratePerS) // connections, plans, compiled code
for (let index = 0; index < Number(values.rounds); index++)
  for (const { delivery, round } of index % 2 === 0 ? benches : benches.toReversed())
    rounds.get(delivery)?.push(ascending(await round(perRound)))

for (const [delivery, each] of rounds) {
  const all = ascending(each.flat())
  const p99Ms = quantile(all, 0.99)
  const missing = perRound * each.length - all.length
  const line = {
    bench: 'events',
    delivery,
    ratePerS,
    events: all.length,
    missing,
    p50Ms: quantile(all, 0.5),
    p99Ms,
    maxMs: quantile(all, 1),
    p99MsOfRounds: each.map((sorted) => quantile(sorted, 0.99)),
    barMs: Number(values['bar-ms']),
    passed: missing === 0 && p99Ms <= Number(values['bar-ms']),
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
