import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { openPostgres } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDispatches } from './dispatches.ts'
import { defineJob, type JobType } from './job.ts'
import { createRunUpkeep } from './run-upkeep.ts'
import { job, openWorld, type World } from './world.fixture.ts'

const soon = { heartbeatMs: 100, deadAfterMs: 1_000 }
let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

const idle = (type: string): JobType => defineJob({ type, check: (input) => input, run: async () => null })

const versionOf = async (id: string): Promise<unknown> => {
  const [row] = await world.db.query('select app_version from app_workflow.runs where id = $1', [id])
  return row?.app_version
}

test('jobs of a version whose nodes were all killed are taken over, and their rows go', async () => {
  const type = idle('killed:later')
  const old = await world.join({ pipelines: [], jobs: [type], applicationVersion: 'killed', ...soon })
  const { job: waiting } = await old.jobs.enqueue('killed:later', null, { delayMs: 3_600_000 })
  await world.leave()
  // What a killed node leaves: a row whose lock is free.
  await world.db.query(
    "insert into app_workflow.nodes (id, lock_key, app_version) values ('killed', 1000000, 'killed')",
  )
  await world.join({ pipelines: [], jobs: [type], applicationVersion: 'next', ...soon })
  await eventually(async () => expect(await versionOf(waiting.id)).toBe('next'))
  expect(await world.db.query("select from app_workflow.nodes where id = 'killed'")).toEqual([])
})

test('jobs of types that nobody knows any more do not keep others from being taken over', async () => {
  const type = idle('known:later')
  const old = await world.join({ pipelines: [], jobs: [type], applicationVersion: 'before', ...soon })
  await world.db.query(
    `insert into app_workflow.runs (id, pipeline, version, tenant, queue, priority, app_version, state, input, max_attempts)
     select 'unknown-' || n, 'unknown:later', '1', '', 'jobs', 'normal', 'before', 'queued', 'null', 1 from generate_series(1, 100) n`,
  )
  const { job: waiting } = await old.jobs.enqueue('known:later', null, { delayMs: 3_600_000 })
  await world.join({ pipelines: [], jobs: [type], applicationVersion: 'after', ...soon })
  await eventually(async () => expect(await versionOf(waiting.id)).toBe('after'))
})

test('a run that is retried while old ones are removed stays', async () => {
  let broken = true
  const pipeline = job('old', async () => {
    if (broken) throw new Error('broken')
  })
  const { start, retry, get } = await world.join({ pipelines: [pipeline] })
  const { run } = await start(pipeline, null)
  await world.ended(run.id)
  broken = false
  const { prune } = createRunUpkeep({
    db: world.db,
    schema: 'app_workflow',
    dispatches: createDispatches({ ours: 'app_workflow', engine: 'app_dbos', channel: 'old' }),
    appVersion: 'v1',
    node: 'nobody',
    claims: () => [],
    jobTypes: [],
  })
  let pruning: Promise<number> | undefined
  await world.db.transaction(async (tx) => {
    expect(await retry(run.id, tx)).toMatchObject({ changed: true })
    pruning = prune(0)
    await Promise.race([pruning, lockWaited()])
  })
  await pruning
  expect(await get(run.id)).toBeDefined()
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed' })
})

/** Resolves when a session of this database waits for a lock. */
const lockWaited = (): Promise<void> =>
  eventually(async () => {
    const waiting = await world.db.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    expect(waiting).toHaveLength(1)
  })

test('a run that was claimed when the connection broke is claimed again', async () => {
  await using proxy = await forgetfulProxy(world.url)
  await using db = await openPostgres({ url: proxy.url, schema: 'app', poolMax: 4 })
  const pipeline = job('unanswered', async () => 'done')
  const { start } = await world.join({ db, pipelines: [pipeline], ...soon })
  proxy.forget()
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed', begun: 1 })
  expect(proxy.forgot()).toBe(true)
  await world.leave()
})

/** A proxy that, once told to, lets the engine commit its next claim and breaks the connection in place of the answer. */
async function forgetfulProxy(serverUrl: string) {
  const target = new URL(serverUrl)
  let forgets = false
  let forgot = false
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let claims = false
    let commits = false
    client.on('data', (sent) => {
      claims ||= sent.includes('owner_xid = $8')
      commits = forgets && claims && sent.includes('COMMIT\0')
      upstream.write(sent)
      if (sent.includes('COMMIT\0')) claims = false
    })
    upstream.on('data', (answer) => {
      if (commits) {
        forgets = false
        forgot = true
        client.destroy()
      } else client.write(answer)
    })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('error', () => {})
      from.on('close', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    forget: () => {
      forgets = true
    },
    forgot: () => forgot,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
