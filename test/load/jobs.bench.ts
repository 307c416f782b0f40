// Our jobs against pg-boss and BullMQ: jobs per second, how soon one runs, and how soon another worker has what a killed one
// had. Each round in a process and a place of its own, in turns. One line of JSON per row, then a table.
import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { testDatabase } from '@docmesh/testing'
import { cleanBullMq } from './jobs/bullmq.ts'
import type { News, Order } from './jobs/child.ts'
import { CONTENDERS, TAKEOVERS } from './jobs/contenders.ts'
import { durability } from './jobs/durability.ts'
import type { Place } from './jobs/engine.ts'
import { median, quantile, type Row, rounded, table } from './jobs/report.ts'

const TAKEOVER_MS = 120_000
/** A quantile of fewer says nothing. */
const SAMPLES_FOR_P99 = 100

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    jobs: { type: 'string', default: '3000' },
    kills: { type: 'string', default: '3' },
    engines: { type: 'string', default: 'docmesh,pg-boss,bullmq' },
    redis: { type: 'string', default: '127.0.0.1:6379' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(`npm run bench:jobs -- [--rounds 5] [--seconds 4] [--jobs 3000] [--kills 3] [--engines docmesh,pg-boss,bullmq]
                      [--redis 127.0.0.1:6379]

  --rounds N   rounds of each contender for jobs per second and latency, in turns; 0 leaves these out
  --seconds S  longest time of each of the two measurements of a round
  --jobs N     jobs that are there at once when the worker begins
  --kills N    kill -9 of each contender; 0 leaves them out. The default settings of BullMQ take up to a minute each

PostgreSQL: TEST_DATABASE_URL, DATABASE_URL or 127.0.0.1:5432; every round has a database of its own.
`)
  process.exit(0)
}
const ms = Number(values.seconds) * 1_000
const [host = '', port = ''] = values.redis.split(':')
const isAsked = ([, { engine }]: readonly [string, { readonly engine: string }]): boolean =>
  values.engines.split(',').includes(engine)

/** Runs it with a database and Redis keys that are gone afterwards. */
async function inPlace<T>(run: (place: Place) => Promise<T>): Promise<T> {
  await using database = await testDatabase()
  const place = {
    databaseUrl: database.url,
    redis: { host, port: Number(port) },
    prefix: `docmesh-bench-${randomUUID()}`,
  }
  try {
    return await run(place)
  } finally {
    await cleanBullMq(place)
  }
}

async function hear<Kind extends News['kind']>(
  child: ChildProcess,
  kind: Kind,
  timeoutMs = TAKEOVER_MS,
): Promise<News & { kind: Kind }> {
  const signal = AbortSignal.timeout(timeoutMs)
  const gone = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`a worker ended with ${code} before it was ${kind}`)
  })
  gone.catch(() => {})
  for (;;) {
    const [news] = (await Promise.race([once(child, 'message', { signal }), gone])) as [News]
    if (news.kind === kind) return news as News & { kind: Kind }
  }
}

async function startWorker(name: string, place: Place): Promise<ChildProcess> {
  const child = fork(new URL('jobs/child.ts', import.meta.url), [name, JSON.stringify(place)])
  await hear(child, 'ready')
  return child
}

const order = (child: ChildProcess, what: Order): boolean => child.send(what)

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

interface Figures {
  readonly perSecond: number
  readonly latenciesMs: readonly number[]
}

const round = (name: string): Promise<Figures> =>
  inPlace(async (place) => {
    const worker = await startWorker(name, place)
    try {
      const dispatched = hear(worker, 'dispatched')
      order(worker, { kind: 'dispatch', ms })
      const { latenciesMs } = await dispatched
      const drained = hear(worker, 'drained')
      order(worker, { kind: 'drain', jobs: Number(values.jobs), ms })
      const { perSecond } = await drained
      return { perSecond, latenciesMs }
    } finally {
      await end(worker)
    }
  })

/** Milliseconds from the kill of the worker that has the job to the other one beginning it. */
const takeOver = (name: string): Promise<number> =>
  inPlace(async (place) => {
    const workers = [await startWorker(name, place), await startWorker(name, place)] as const
    try {
      for (const worker of workers) {
        const holding = hear(worker, 'holding')
        order(worker, { kind: 'hold' })
        await holding
      }
      const begun = workers.map((worker) => hear(worker, 'begun').then(() => worker))
      order(workers[0], { kind: 'enqueue' })
      const victim = await Promise.race(begun)
      const heir = begun[victim === workers[0] ? 1 : 0]
      const killedAt = performance.now()
      await end(victim)
      await heir
      return performance.now() - killedAt
    } finally {
      for (const worker of workers) await end(worker)
    }
  })

const rows: Row[] = []
function report(row: Row): void {
  rows.push(row)
  process.stdout.write(`${JSON.stringify(row)}\n`)
}

const say = (line: string): unknown => process.stderr.write(`${line}\n`)

const stores = await inPlace(durability)
say(`PostgreSQL: ${stores.postgres}; Redis: ${stores.redis}`)

const sides = Object.entries(CONTENDERS)
  .filter(isAsked)
  .map(([name, { settings }]) => ({ name, settings, rounds: [] as Figures[] }))
for (let number = 0; number < Number(values.rounds); number++) {
  for (const { name, rounds } of number % 2 === 0 ? sides : sides.toReversed()) rounds.push(await round(name))
  const rates = sides.map(({ name, rounds }) => `${name} ${rounded(rounds.at(-1)?.perSecond ?? 0)}/s`)
  say(`round ${number + 1} of ${values.rounds}: ${rates.join('; ')}`)
}
for (const { name, settings, rounds } of sides) {
  if (rounds.length === 0) continue
  const latencies = rounds.flatMap(({ latenciesMs }) => latenciesMs)
  const p99 = latencies.length < SAMPLES_FOR_P99 ? null : rounded(quantile(latencies, 0.99))
  report({
    bench: 'jobs',
    contender: name,
    jobs_per_second: rounded(median(rounds.map(({ perSecond }) => perSecond))),
    dispatch_p50_ms: rounded(median(rounds.map(({ latenciesMs }) => median(latenciesMs)))),
    dispatch_p99_ms: p99,
    samples: latencies.length,
    rounds: rounds.length,
    settings,
    stores,
  })
}

for (const [name, contender] of Object.entries(TAKEOVERS).filter(isAsked)) {
  if (Number(values.kills) === 0) break
  if ('why' in contender) {
    report({ bench: 'jobs', contender: name, takeover_p50_ms: null, why: contender.why })
    continue
  }
  const times: number[] = []
  for (let kill = 0; kill < Number(values.kills); kill++) times.push(await takeOver(name))
  say(`${name}: ${times.map((time) => Math.round(time)).join(', ')} ms from kill -9 to the job running again`)
  report({
    bench: 'jobs',
    contender: name,
    takeover_p50_ms: Math.round(median(times)),
    takeover_max_ms: Math.round(Math.max(...times)),
    kills: times.length,
    settings: contender.settings,
  })
}
const measured = rows.filter((row) => 'jobs_per_second' in row)
const killed = rows.filter((row) => 'takeover_p50_ms' in row)
if (measured.length > 0)
  say(
    `\n${table(measured, ['contender', 'jobs_per_second', 'dispatch_p50_ms', 'dispatch_p99_ms', 'samples'])}`,
  )
if (killed.length > 0)
  say(`\n${table(killed, ['contender', 'takeover_p50_ms', 'takeover_max_ms', 'kills', 'why'])}`)
