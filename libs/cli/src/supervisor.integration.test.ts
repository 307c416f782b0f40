import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from '@docmesh/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MEMORY_ARGS } from './healing/memory.ts'
import { vitalsOf } from './healing/vitals.ts'
import type { ProcessSpec } from './supervised-process.ts'
import { createSupervisor, type Supervisor, type SupervisorOptions } from './supervisor.ts'

let folder: string
let supervisor: Supervisor
/** `name state` in the order of the changes. */
let changes: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
  changes = []
})
afterEach(async () => {
  await supervisor.stop()
  rmSync(folder, { recursive: true })
})

const supervise = (options: SupervisorOptions = {}): Supervisor => {
  supervisor = createSupervisor({
    onChange: ({ spec, state }) => changes.push(`${spec.name} ${state().kind}`),
    ...options,
  })
  return supervisor
}

const path = (name: string): string => join(folder, name)
const read = (name: string): string => (existsSync(path(name)) ? readFileSync(path(name), 'utf8') : '')

/** A tiny service; `body` runs before it says that it is ready, and sees how often it was started. */
function service(name: string, body = ''): ProcessSpec {
  const script = path(`${name}.mjs`)
  writeFileSync(
    script,
    `import { appendFileSync, readFileSync } from 'node:fs'
const note = (text) => appendFileSync(process.env.NOTES, text + '\\n')
note('start ' + process.env.NAME)
const starts = readFileSync(process.env.NOTES, 'utf8').split('start ' + process.env.NAME + '\\n').length - 1
process.on('SIGTERM', () => { note('stop ' + process.env.NAME); process.exit(0) })
process.on('disconnect', () => process.exit(0))
${body}
process.send({ kind: 'ready', address: process.env.NAME + ':' + process.pid })
`,
  )
  const env = { NAME: name, NOTES: path('notes') }
  return {
    name,
    service: name.replace(/-\d+$/, ''),
    script,
    execArgv: [],
    env,
    logFile: path(`${name}.log`),
  }
}

describe('supervisor', () => {
  it('resolves when all processes are ready, with their addresses', async () => {
    const ready = await supervise().start([service('a-1'), service('a-2')])
    expect(ready.map(({ address }) => address.replace(/\d+$/, ''))).toEqual(['a-1:', 'a-2:'])
    expect(changes).toEqual(expect.arrayContaining(['a-1 starting', 'a-1 ready', 'a-2 ready']))
  })

  it('starts a process again that was killed', async () => {
    const [first] = await supervise().start([service('a')])
    process.kill(Number(first?.address.split(':')[1]), 'SIGKILL')
    await eventually(() => expect(changes.at(-1)).toBe('a ready'))
    await eventually(() =>
      expect(changes).toEqual(['a starting', 'a ready', 'a restarting', 'a starting', 'a ready']),
    )
  })

  it('waits longer after each crash, and is ready once the process is', async () => {
    const delays: number[] = []
    supervise({
      onChange: ({ state }) => {
        const current = state()
        if (current.kind === 'restarting') delays.push(current.delayMs)
      },
    })
    await supervisor.start([service('a', 'if (starts < 3) process.exit(1)')])
    expect(delays).toEqual([200, 400])
  })

  it('gives up on exit code 78 at once, with what the process said', async () => {
    const body = `process.stderr.write('{"level":"info"}\\na: DATABASE_URL is not set\\n'); process.exit(78)`
    await expect(supervise().start([service('a', body)])).rejects.toThrow(
      'a cannot start: a: DATABASE_URL is not set',
    )
    expect(changes).toEqual(['a starting', 'a failed'])
  })

  it('tells of a process that gives up after it was ready, not of one that never was', async () => {
    const refuse = 'process.exit(78)'
    const [first] = await supervise().start([service('a', `if (starts > 1) ${refuse}`)])
    await expect(supervisor.start([service('b', refuse)])).rejects.toThrow('b cannot start')
    process.kill(Number(first?.address.split(':')[1]), 'SIGKILL')
    expect((await supervisor.gaveUp).spec.name).toBe('a')
  })

  it('names the log when a process does not become ready in time', async () => {
    const starting = supervise({ readyTimeoutMs: 300 }).start([
      service('a', 'await new Promise(() => setInterval(() => {}, 1e6))'),
    ])
    await expect(starting).rejects.toThrow(`a was not ready after 0.3 s; see ${path('a.log')}`)
  })

  it('stops with SIGTERM, what was started last first, the instances of a service together', async () => {
    supervise()
    await supervisor.start([service('registry')])
    await supervisor.start([service('document-1'), service('document-2'), service('analysis')])
    await supervisor.stop()
    const stops = read('notes')
      .split('\n')
      .filter((line) => line.startsWith('stop'))
    expect(stops[0]).toBe('stop analysis')
    expect(stops.slice(1, 3).sort()).toEqual(['stop document-1', 'stop document-2'])
    expect(stops[3]).toBe('stop registry')
    expect(changes.filter((change) => change.endsWith('restarting'))).toEqual([])
  })

  it('kills a process that does not end after SIGTERM', async () => {
    supervise({ killAfterMs: 100 })
    const [ready] = await supervisor.start([
      service('a', `process.removeAllListeners('SIGTERM'); process.on('SIGTERM', () => note('no'))`),
    ])
    await supervisor.stop()
    expect(read('notes')).toContain('no\n')
    expect(() => process.kill(Number(ready?.address.split(':')[1]), 0)).toThrow('ESRCH')
  })

  it('can be stopped while a process waits to be started again', async () => {
    const starting = supervise().start([service('a', 'process.exit(1)')])
    await eventually(() => expect(changes.at(-1)).toBe('a restarting'))
    await Promise.all([expect(starting).rejects.toThrow('a was stopped'), supervisor.stop()])
    expect(changes.at(-1)).toBe('a stopped')
  })

  it('does not start what dies by itself while all is being stopped', async () => {
    supervise()
    await supervisor.start([service('registry', `process.on('disconnect', () => {})`)])
    const slow = `process.removeAllListeners('SIGTERM'); process.on('SIGTERM', () => { process.kill(Number(process.env.OTHER), 'SIGKILL'); setTimeout(() => process.exit(0), 100) })`
    const other = supervisor.processes()[0]?.state()
    const pid = other?.kind === 'ready' ? (other.address.split(':')[1] ?? '') : ''
    const spec = service('document', slow)
    await supervisor.start([{ ...spec, env: { ...spec.env, OTHER: pid } }])
    await supervisor.stop()
    expect(read('notes').match(/start registry/g)).toHaveLength(1)
    expect(changes.at(-1)).toBe('document stopped')
  })

  it('keeps the log of a process over its restarts, and copies it when asked', async () => {
    const copied: string[] = []
    supervise({ echo: { write: (data) => copied.push(String(data)) } })
    await supervisor.start([
      service('a', `process.stderr.write('run ' + starts + '\\n'); if (starts < 2) process.exit(1)`),
    ])
    await eventually(() => expect(read('a.log')).toBe('run 1\nrun 2\n'))
    expect(copied.join('')).toBe('run 1\nrun 2\n')
  })

  it('tries again when a process cannot be started, here because the folder of its log is gone', async () => {
    const logs = join(folder, 'logs')
    mkdirSync(logs)
    supervise()
    const spec = { ...service('a'), logFile: join(logs, 'a.log') }
    const [ready] = await supervisor.start([spec])
    rmSync(logs, { recursive: true })
    process.kill(Number(ready?.address.split(':')[1]), 'SIGKILL')
    await eventually(() => expect(changes.filter((change) => change === 'a restarting')).toHaveLength(2))
    mkdirSync(logs)
    expect((await supervisor.processes()[0]?.takesCalls())?.address).not.toBe(ready?.address)
  })

  it('goes on when the copy of a log cannot be kept', async () => {
    const logs = join(folder, 'logs')
    mkdirSync(logs)
    const copied: string[] = []
    supervise({ echo: { write: (data) => copied.push(String(data)) } })
    const body = `process.on('SIGUSR2', () => process.stderr.write('hello\\n'))`
    const [ready] = await supervisor.start([{ ...service('a', body), logFile: join(logs, 'a.log') }])
    rmSync(logs, { recursive: true })
    process.kill(Number(ready?.address.split(':')[1]), 'SIGUSR2')
    await eventually(() => expect(copied.join('')).toBe('hello\n'))
    expect(supervisor.processes()[0]?.state().kind).toBe('ready')
  })

  it('gives up with what the process said last, however long its log is', async () => {
    const spec = service('a', `process.stderr.write('a: SMTP_URL is wrong\\n'); process.exit(78)`)
    writeFileSync(spec.logFile, '')
    truncateSync(spec.logFile, 3 * 2 ** 30)
    await expect(supervise().start([spec])).rejects.toThrow('a cannot start: a: SMTP_URL is wrong')
  })

  it('keeps Ctrl-C of the terminal from the processes', async () => {
    const [ready] = await supervise().start([service('a')])
    const pid = Number(ready?.address.split(':')[1])
    expect(() => process.kill(-pid, 0)).not.toThrow() // it leads a process group of its own
  })

  it('restarts a process on request, not before the hold is over', async () => {
    const delays: number[] = []
    supervise({
      onChange: ({ state }) => {
        const current = state()
        if (current.kind === 'restarting') delays.push(current.delayMs)
      },
    })
    await supervisor.start([service('a')])
    const [process] = supervisor.processes()
    await process?.restart()
    await process?.takesCalls()
    await process?.restart(700)
    await process?.takesCalls()
    expect(delays).toEqual([200, 700])
    expect(read('notes').split('\n').filter(Boolean)).toEqual([
      'start a',
      'stop a',
      'start a',
      'stop a',
      'start a',
    ])
  })

  it('kills a frozen process at once: it hears nothing else', async () => {
    supervise({ killAfterMs: 3_600_000 })
    const [ready] = await supervisor.start([service('a')])
    const pid = Number(ready?.address.split(':')[1])
    process.kill(pid, 'SIGSTOP')
    await eventually(() => expect(vitalsOf(pid)?.stopped).toBe(true))
    const [frozen] = supervisor.processes()
    await frozen?.restart()
    expect((await frozen?.takesCalls())?.address).not.toBe(ready?.address)
  })

  it('stops one process for good and leaves the others', async () => {
    supervise()
    await supervisor.start([service('a-1'), service('a-2')])
    const [first] = supervisor.processes()
    if (first) await supervisor.remove(first)
    expect(changes.at(-1)).toBe('a-1 stopped')
    expect(supervisor.processes().map(({ spec, state }) => `${spec.name} ${state().kind}`)).toEqual([
      'a-2 ready',
    ])
    await expect(first?.takesCalls()).rejects.toThrow('a-1 is stopped')
  })

  it('gets memory back that a process does not need', async () => {
    const body = `let rubbish = Array.from({ length: 2e6 }, (_, index) => ({ text: 'x' + index })); rubbish = undefined`
    await supervise().start([{ ...service('a', body), execArgv: MEMORY_ARGS }])
    const [process] = supervisor.processes()
    const freed = await process?.giveBackMemory(new AbortController().signal)
    expect(freed).toBeGreaterThan(64 * 2 ** 20)
  })
})
