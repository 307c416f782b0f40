import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import type { HealingEvent } from '@docmesh/healing'
import { grpcJsServer, type Handlers, implement, routesOf } from '@docmesh/rpc'
import { eventually, testDatabase } from '@docmesh/testing'
import { expect, it } from 'vitest'
import type { ProcessSpec } from '../supervised-process.ts'
import { createSupervisor } from '../supervisor.ts'
import { startHealing } from './healing.ts'

const PATIENCE = { timeoutMs: 30_000 }

/** Notes its starts and whenever somebody asks how it is; ready at once, or when the file in READY_WHEN is there. */
const SERVICE = `import { appendFileSync, existsSync } from 'node:fs'
import { createServer } from 'node:http'
const note = (text) => appendFileSync(process.env.NOTES, text + '\\n')
note('start')
process.on('SIGTERM', () => process.exit(0))
process.on('disconnect', () => process.exit(0))
const server = createServer((_, response) => {
  note('asked')
  response.end('{}')
})
server.listen(0, '127.0.0.1', () => {
  const adminAddress = '127.0.0.1:' + server.address().port
  const waiting = setInterval(() => {
    if (process.env.READY_WHEN && !existsSync(process.env.READY_WHEN)) return
    clearInterval(waiting)
    process.send({ kind: 'ready', address: adminAddress, adminAddress, instanceId: process.env.NAME })
  }, 20)
})
`

async function openWorld() {
  const stack = new AsyncDisposableStack()
  const { url: databaseUrl } = stack.use(await testDatabase())
  const dataDir = mkdtempSync(join(tmpdir(), 'docmesh-follow-'))
  stack.defer(() => rmSync(dataDir, { recursive: true }))
  const script = join(dataDir, 'service.mjs')
  writeFileSync(script, SERVICE)
  const supervisor = createSupervisor()
  stack.defer(() => supervisor.stop())
  const handlers: Handlers<typeof RegistryServiceDefinition> = {
    listInstances: async () => ({
      instances: supervisor.processes().map(({ spec: { name } }) => ({ registration: { instanceId: name } })),
    }),
  }
  const routes = routesOf(implement(RegistryServiceDefinition, handlers), [])
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  stack.defer(() => listener.close(1_000))
  const specOf = (service: string, name: string, env = {}, notes = name): ProcessSpec => ({
    name,
    service,
    script,
    execArgv: [],
    env: { NAME: name, NOTES: join(dataDir, notes), ...env },
    logFile: join(dataDir, `${name}.log`),
  })
  const events: HealingEvent[] = []
  return {
    supervisor,
    specOf,
    dataDir,
    events,
    notes(name: string, what: string): number {
      const file = join(dataDir, name)
      const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
      return lines.filter((line) => line === what).length
    },
    async heal() {
      const onEvent = (event: HealingEvent) => void events.push(event)
      const deps = {
        supervisor,
        postgres: undefined,
        databaseUrl,
        registry: listener.address,
        dataDir,
        specOf,
      }
      const healing = await startHealing({ intervalMs: 50, timeoutMs: 60_000, onEvent }, deps)
      stack.defer(() => healing.stop())
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

it('looks at the process that has a name now, not at the one that had it before', async () => {
  await using world = await openWorld()
  const { supervisor, specOf, notes, events } = world
  await supervisor.start([specOf('document', 'document-1'), specOf('document', 'document-2')])
  await world.heal()
  await eventually(() => expect(notes('document-2', 'asked')).toBeGreaterThan(0), PATIENCE)
  const before = supervisor.processes()[1]
  if (!before) throw new Error('nothing to replace')
  await supervisor.remove(before)
  await supervisor.start([specOf('document', 'document-2', {}, 'successor')])
  await eventually(() => expect(notes('successor', 'asked')).toBeGreaterThan(5), PATIENCE)
  expect(notes('successor', 'start')).toBe(1)
  expect(events.filter(({ check }) => check === 'health/document-2')).toEqual([])
}, 60_000)

it('leaves a process alone that is still becoming ready for the first time', async () => {
  await using world = await openWorld()
  const { supervisor, specOf, notes, events } = world
  await supervisor.start([specOf('document', 'document-1')])
  await world.heal()
  const go = join(world.dataDir, 'go')
  const started = supervisor.start([specOf('document', 'document-2', { READY_WHEN: go })])
  started.catch(() => {}) // heard of below
  await eventually(() => expect(notes('document-2', 'start')).toBe(1), PATIENCE)
  const asked = notes('document-1', 'asked')
  await eventually(() => expect(notes('document-1', 'asked')).toBeGreaterThan(asked + 20), PATIENCE)
  writeFileSync(go, '')
  await started
  await eventually(() => expect(notes('document-2', 'asked')).toBeGreaterThan(0), PATIENCE)
  expect(notes('document-2', 'start')).toBe(1)
  expect(events).toEqual([])
}, 60_000)
