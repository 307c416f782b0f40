import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Instance, InstanceHealth } from '@docmesh/contracts/registry/v1/registry'
import type { CheckResult } from '@docmesh/healing'
import { afterEach, describe, expect, it } from 'vitest'
import type { MendableProcess, ProcessState } from '../supervised-process.ts'
import { type CheckOptions, type CheckSources, instanceChecks, sharedChecks } from './checks.ts'

const { signal } = new AbortController()
const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** An admin port that gives this answer to everything. */
async function adminPort(status: number, body: unknown): Promise<string> {
  const server = createServer((_, response) => response.writeHead(status).end(JSON.stringify(body)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const listing = (instanceId: string, health: InstanceHealth): Instance =>
  ({ registration: { instanceId }, health }) as Instance
const sources: CheckSources = { dataDir: '.', ping: async () => {}, listed: async () => [] }
const ready: ProcessState = { kind: 'ready', address: 'a', instanceId: 'me' }

/** Result of one check of a process that is this one. */
function ask(
  name: string,
  state: ProcessState,
  given: Partial<CheckSources> = {},
  options: CheckOptions = {},
): Promise<CheckResult> {
  const subject: Pick<MendableProcess, 'spec' | 'state' | 'pid'> = {
    spec: { name: 'document-1', service: 'document', script: '', execArgv: [], env: {}, logFile: '' },
    state: () => state,
    pid: () => process.pid,
  }
  const checks = instanceChecks(subject as MendableProcess, options, { ...sources, ...given })
  const found = checks.find((check) => check.name === name)
  if (!found) throw new Error(name)
  return found.run(signal)
}

describe('the health of an instance', () => {
  it('is what its admin port says', async () => {
    const well = await adminPort(200, { state: 'healthy', checks: [] })
    const ill = await adminPort(503, {
      checks: [
        { name: 'blobs', state: 'failed', error: 'read-only' },
        { name: 'postgres', state: 'passed' },
      ],
    })
    expect(await ask('health', { ...ready, adminAddress: well })).toEqual({ healthy: true, detail: '' })
    expect(await ask('health', { ...ready, adminAddress: ill })).toEqual({
      healthy: false,
      detail: 'blobs: read-only',
    })
  })

  it('is bad while it waits to be started again', async () => {
    const state = { kind: 'restarting', delayMs: 1, ended: 'SIGKILL' } as const
    expect(await ask('health', state)).toEqual({ healthy: false, detail: 'it is restarting' })
  })

  it.each(['stopping', 'stopped'] as const)('is nobody’s trouble once it is %s for good', async (kind) => {
    for (const name of ['health', 'lease', 'event-loop', 'memory'])
      expect(await ask(name, { kind }, {}, { memoryBytes: 1 })).toEqual({ healthy: true, detail: '' })
  })

  it('fails when nothing answers', async () => {
    await expect(ask('health', { ...ready, adminAddress: '127.0.0.1:1' })).rejects.toThrow()
  })
})

it('misses an instance that runs and is not listed', async () => {
  const listed = async () => [listing('me', InstanceHealth.HEALTHY)]
  expect((await ask('lease', ready, { listed })).healthy).toBe(true)
  expect(await ask('lease', { ...ready, instanceId: 'another' }, { listed })).toEqual({
    healthy: false,
    detail: 'runs, but the registry does not list it',
  })
})

it('takes from the registry that an event loop lags', async () => {
  const health = async (found: InstanceHealth) =>
    (await ask('event-loop', ready, { listed: async () => [listing('me', found)] })).healthy
  expect(await health(InstanceHealth.HEALTHY)).toBe(true)
  expect(await health(InstanceHealth.DEGRADED)).toBe(false)
})

it('finds a process large from 85 % of its memory on', async () => {
  const rssBytes = process.memoryUsage.rss()
  expect((await ask('memory', ready, {}, { memoryBytes: 4 * rssBytes })).healthy).toBe(true)
  const { healthy, detail } = await ask('memory', ready, {}, { memoryBytes: rssBytes })
  expect(healthy).toBe(false)
  expect(detail).toMatch(/^it has \d+ of \d+ MiB$|^it has \d+ MiB of \d+ MiB$/)
})

describe('what all share', () => {
  const shared = (name: string, given: Partial<CheckSources>, options: CheckOptions = {}) => {
    const found = sharedChecks(options, { ...sources, ...given }).find((check) => check.name === name)
    if (!found) throw new Error(name)
    return found.run(signal)
  }

  it('is a database that answers', async () => {
    expect((await shared('database', {})).healthy).toBe(true)
    const ping = () => Promise.reject(new Error('refused'))
    await expect(shared('database', { ping })).rejects.toThrow('refused')
  })

  it('is a disk with room', async () => {
    expect((await shared('disk', {}, { diskBytes: 1 })).healthy).toBe(true)
    const { healthy, detail } = await shared('disk', {}, { diskBytes: 2 ** 80 })
    expect(healthy).toBe(false)
    expect(detail).toMatch(/^\d+ MiB are free for \.$/)
  })
})
