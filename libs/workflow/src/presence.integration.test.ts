import { silentLogger } from '@docmesh/telemetry'
import { tcpProxy } from '@docmesh/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDispatches } from './dispatches.ts'
import { joinNodes, type Presence } from './presence.ts'
import { createRunUpkeep } from './run-upkeep.ts'
import { openWorld, type World } from './world.fixture.ts'

let world: World

beforeAll(async () => {
  world = await openWorld()
  await world.join({ pipelines: [] })
  await world.leave()
})
afterAll(() => world.close())

async function join(node: string, url: string): Promise<Presence> {
  const schema = 'app_workflow'
  const dispatches = createDispatches({ ours: schema, engine: 'app_dbos', channel: 'presence' })
  const { db } = world
  return joinNodes({
    url,
    schema,
    node,
    appVersion: 'v1',
    dispatches,
    upkeep: createRunUpkeep({
      db,
      schema,
      dispatches,
      appVersion: 'v1',
      node,
      claims: () => [],
      jobTypes: [],
    }),
    recover: async () => 0,
    onTakenOver: () => {},
    onTookOver: () => {},
    logger: silentLogger,
    heartbeatMs: 100,
    deadAfterMs: 1_000,
    sweepMs: 50,
  })
}

test('what was done alone stays done when the connection is lost meanwhile', async () => {
  await using proxy = await tcpProxy(world.url)
  const presence = await join('cut-off', proxy.url)
  const work = presence.exclusively(async () => {
    proxy.cut()
    return 'launched'
  })
  expect(await work).toBe('launched')
  proxy.restore()
  const next = await join('next', world.url)
  expect(await next.exclusively(async () => 'too')).toBe('too')
  await next.leave()
  await presence.leave()
})
