import { randomUUID } from 'node:crypto'
import {
  SystemHealthChecked,
  SystemRecoveryCompleted,
  SystemRecoveryStarted,
} from '@docmesh/contracts/ops/v1/events'
import { connectEvents } from '@docmesh/events'
import type { HealingEvent } from '@docmesh/healing'
import { openPostgres } from '@docmesh/postgres'
import { eventually, tcpProxy, testDatabase } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { createJournal } from './journal.ts'

const after = (ms: number, fn: () => void): (() => void) => {
  const timer = setTimeout(fn, ms)
  return () => clearTimeout(timer)
}
const failing: HealingEvent = { kind: 'checked', check: 'health/a', healthy: false, detail: 'ill' }
const started: HealingEvent = { kind: 'started', recoveryId: 'r1', check: 'health/a', action: 'restart' }
const completed: HealingEvent = {
  kind: 'completed',
  recoveryId: 'r1',
  check: 'health/a',
  succeeded: true,
  detail: 'restarted a',
}

async function openWorld() {
  const stack = new AsyncDisposableStack()
  const { url } = stack.use(await testDatabase())
  const db = stack.use(await openPostgres({ url, schema: 'events', poolMax: 2, connectTimeoutMs: 1_000 }))
  const { publish, history } = stack.use(await connectEvents({ db }))
  return { url, db, publish, history, stack, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

it('publishes what happens in order, a recovery under one correlation id', async () => {
  await using world = await openWorld()
  const runId = randomUUID()
  const journal = createJournal({ ...world, after, runId })
  for (const event of [failing, started, completed]) journal.record(event)
  await journal.close()
  const log = await world.history('system', runId)
  expect(log.map(({ type }) => type)).toEqual([
    SystemHealthChecked.$type,
    SystemRecoveryStarted.$type,
    SystemRecoveryCompleted.$type,
  ])
  expect(log.slice(1).map(({ correlationId }) => correlationId)).toEqual(['r1', 'r1'])
  expect(SystemHealthChecked.decode(log[0]?.payload ?? new Uint8Array())).toEqual({
    check: 'health/a',
    healthy: false,
    detail: 'ill',
  })
})

it('keeps what happens while the database is away, and publishes each once when it is back', async () => {
  await using world = await openWorld()
  await using proxy = await tcpProxy(world.url)
  const options = { url: proxy.url, schema: 'events', poolMax: 2, connectTimeoutMs: 1_000 }
  await using db = await openPostgres(options)
  const runId = randomUUID()
  const journal = createJournal({ db, publish: world.publish, after, runId })
  journal.record(failing)
  await eventually(async () => expect(await world.history('system', runId)).toHaveLength(1))
  proxy.cut()
  journal.record(started)
  journal.record(completed)
  expect(await world.history('system', runId)).toHaveLength(1)
  proxy.restore()
  await eventually(async () => expect(await world.history('system', runId)).toHaveLength(3))
  await journal.close()
  expect((await world.history('system', runId)).map(({ version }) => version)).toEqual([1n, 2n, 3n])
})

it('does not repeat an event whose commit was not heard of', async () => {
  await using world = await openWorld()
  const runId = randomUUID()
  let lost = false
  const journal = createJournal({
    ...world,
    after,
    runId,
    db: {
      // Commits, and then loses the answer once.
      async transaction(fn) {
        const result = await world.db.transaction(fn)
        if (lost) return result
        lost = true
        throw new Error('Connection terminated unexpectedly')
      },
    },
  })
  journal.record(failing)
  journal.record(started)
  await eventually(async () => expect(await world.history('system', runId)).toHaveLength(2))
  await journal.close()
  expect((await world.history('system', runId)).map(({ type }) => type)).toEqual([
    SystemHealthChecked.$type,
    SystemRecoveryStarted.$type,
  ])
})
