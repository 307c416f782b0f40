import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { openPostgres } from '@docmesh/postgres'
import { tcpProxy } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { gate, job, openWorld, record, type World } from './world.fixture.ts'

const soon = { heartbeatMs: 100, deadAfterMs: 500 }
let world: World

beforeAll(async () => {
  world = await openWorld()
})
afterEach(() => world.leave())
afterAll(() => world.close())

test('a node with a run in hand leaves while the database refuses connections', async () => {
  await using proxy = await tcpProxy(world.url)
  await using db = await openPostgres({ url: proxy.url, schema: 'app', poolMax: 2 })
  const { reached, pass } = gate()
  const pipeline = job('held', ({ signal }) => pass(signal))
  const { start } = await world.join({ db, pipelines: [pipeline], ...soon })
  await start(pipeline, null)
  await reached
  proxy.cut()
  await expect(world.leave()).resolves.toBeUndefined()
})

test('a node leaves twice, also at the same time, and the next one is not disturbed', async () => {
  const pipeline = job('twice', async () => 'done')
  const first = await world.join({ pipelines: [pipeline] })
  await Promise.all([first.stop(), first.stop()])
  const { start } = await world.join({ pipelines: [pipeline] })
  await first.stop()
  const { run } = await start(pipeline, null)
  expect(await world.ended(run.id)).toMatchObject({ state: 'completed' })
})

test('a node with runs in hand leaves while the database says nothing', async () => {
  const proxy = await silentProxy(world.url)
  const db = await openPostgres({ url: proxy.url, schema: 'app', poolMax: 2 })
  const writing = gate()
  const pipeline = job('mute', async (step) => {
    if (step.input === 'waits') return writing.pass(step.signal)
    await writing.reached
    proxy.silence()
    return step.transaction(record(step.runId, 'never'))
  })
  const { start } = await world.join({ db, pipelines: [pipeline], ...soon })
  await start(pipeline, 'waits')
  await start(pipeline, 'writes')
  await writing.reached
  await proxy.silenced
  await expect(world.leave()).resolves.toBeUndefined()
  await proxy.close()
  await db.close()
})

/** A network that, from some moment on, loses every packet: connections stay open and nobody answers. */
async function silentProxy(serverUrl: string) {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  const { promise: silenced, resolve } = Promise.withResolvers<void>()
  let silent = false
  const server = createServer({ allowHalfOpen: true }, (client) => {
    sockets.add(client.on('error', () => {}))
    if (silent) return
    const upstream = connect(Number(target.port), target.hostname)
    sockets.add(upstream.on('error', () => {}))
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (data) => void (silent || to.write(data)))
      from.on('end', () => void (silent || to.end()))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    silenced,
    silence() {
      silent = true
      resolve()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((closed) => server.close(closed))
    },
  }
}
