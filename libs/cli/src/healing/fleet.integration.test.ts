import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fleet } from '@docmesh/healing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { ProcessSpec } from '../supervised-process.ts'
import { createSupervisor, type Supervisor } from '../supervisor.ts'
import { localFleet, POSTGRES } from './fleet.ts'
import type { KeptPostgres } from './postgres.ts'

const { signal } = new AbortController()
let folder: string
let supervisor: Supervisor
let restartDelays: number[]
let drained: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-fleet-'))
  restartDelays = []
  drained = []
  supervisor = createSupervisor({
    onChange({ state }) {
      const current = state()
      if (current.kind === 'restarting') restartDelays.push(current.delayMs)
    },
  })
})
afterEach(async () => {
  await supervisor.stop()
  rmSync(folder, { recursive: true })
})

const SERVICE = `import { appendFileSync } from 'node:fs'
appendFileSync(process.env.NOTES, process.env.NAME + '\\n')
process.on('SIGTERM', () => process.exit(0))
process.on('disconnect', () => process.exit(0))
setInterval(() => {}, 1e6)
if (process.env.NAME !== 'mute-2') process.send({ kind: 'ready', address: 'a', instanceId: 'id-of-' + process.env.NAME })
`

function specOf(service: string, name: string): ProcessSpec {
  const script = join(folder, 'service.mjs')
  if (!existsSync(script)) writeFileSync(script, SERVICE)
  const env = { NAME: name, NOTES: join(folder, 'notes') }
  return { name, service, script, execArgv: [], env, logFile: join(folder, `${name}.log`) }
}

const fleetOver = (postgres?: KeptPostgres): Fleet =>
  localFleet({ supervisor, postgres, specOf, drain: async (id) => drained.push(id) })
const names = async (fleet: Fleet) => (await fleet.instances()).map(({ name }) => name)
const starts = (): string[] => readFileSync(join(folder, 'notes'), 'utf8').trim().split('\n')

it('adds an instance under a free name, and removes it', async () => {
  await supervisor.start([specOf('document', 'document'), specOf('analysis', 'analysis-1')])
  const fleet = fleetOver()
  expect(await fleet.add('document', signal)).toBe('document-2')
  expect(await fleet.add('document', signal)).toBe('document-3')
  await fleet.remove('document-2', signal)
  expect(await names(fleet)).toEqual(['document', 'analysis-1', 'document-3'])
  expect(await fleet.add('document', signal)).toBe('document-2')
})

it('leaves nothing behind of an instance that does not become ready', async () => {
  supervisor = createSupervisor({ readyTimeoutMs: 1_000 })
  const fleet = fleetOver()
  await expect(fleet.add('mute', signal)).rejects.toThrow('mute-2 was not ready after 1 s')
  expect(await names(fleet)).toEqual([])
})

it('restarts an instance and is done when it takes calls', async () => {
  await supervisor.start([specOf('document', 'document')])
  await fleetOver().restart('document', signal)
  expect(supervisor.processes()[0]?.state().kind).toBe('ready')
  expect(starts()).toEqual(['document', 'document'])
  await expect(fleetOver().restart('nobody', signal)).rejects.toThrow('there is no instance nobody')
})

it('keeps callers from an instance for a while, but never from the only one of its service', async () => {
  await supervisor.start([specOf('document', 'document-1'), specOf('document', 'document-2')])
  await supervisor.start([specOf('analysis', 'analysis')])
  const fleet = fleetOver()
  await fleet.openCircuit('document-1', 700, signal)
  expect(drained).toEqual(['id-of-document-1'])
  expect(restartDelays).toEqual([700])
  await supervisor.processes()[0]?.takesCalls()
  await expect(fleet.openCircuit('analysis', 700, signal)).rejects.toThrow(
    'analysis is the only instance of analysis',
  )
  expect(starts()).toEqual(expect.arrayContaining(['document-1', 'document-1', 'document-2', 'analysis']))
})

it('restarts nothing when it is told to stop while callers hear of it', async () => {
  await supervisor.start([specOf('document', 'document-1'), specOf('document', 'document-2')])
  const stopping = new AbortController()
  const drain = () => {
    stopping.abort(new Error('healing has stopped'))
    return Promise.reject(new Error('the call was cancelled'))
  }
  const fleet = localFleet({ supervisor, postgres: undefined, specOf, drain })
  await expect(fleet.openCircuit('document-1', 700, stopping.signal)).rejects.toThrow('healing has stopped')
  expect(supervisor.processes().map(({ state }) => state().kind)).toEqual(['ready', 'ready'])
})

it('has the database in the fleet when it runs it', async () => {
  const done: string[] = []
  const postgres = { url: '', restart: async () => void done.push('restarted'), stop: async () => {} }
  expect(await names(fleetOver())).toEqual([])
  expect(await names(fleetOver(postgres))).toEqual([POSTGRES])
  await fleetOver(postgres).restart(POSTGRES, signal)
  expect(done).toEqual(['restarted'])
  await expect(fleetOver().restart(POSTGRES, signal)).rejects.toThrow('there is no instance postgres')
})
