import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { eventually } from '@docmesh/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const BOOTSTRAP = join(import.meta.dirname, 'bootstrap.mjs')

/** What `npm install` leaves behind, as far as the bootstrap looks at it. */
const FAKE_NPM = `
const fs = require('node:fs')
fs.appendFileSync('npm-calls', process.argv.slice(2).join(' ') + '\\n')
process.stdout.write('added 285 packages\\n')
if (fs.existsSync('npm-fails')) process.exit(1)
const moment = new Int32Array(new SharedArrayBuffer(4))
while (fs.existsSync('npm-waits')) Atomics.wait(moment, 0, 0, 10)
fs.mkdirSync('node_modules/.bin', { recursive: true })
fs.rmSync('node_modules/.bin/node', { force: true })
fs.symlinkSync(process.execPath, 'node_modules/.bin/node')
if (!fs.existsSync('node_modules/.package-lock.json')) fs.writeFileSync('node_modules/.package-lock.json', '{}')
`

/** Stands for the command line. */
const FAKE_MAIN = `
const path: string = process.env.PATH ?? ''
process.on('SIGTERM', () => process.exit(9))
process.stdout.write(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), path }) + '\\n')
if (process.argv.includes('wait')) setInterval(() => {}, 1e6)
else process.exit(7)
`

let root: string
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'docmesh-bootstrap-')))
  write('libs/cli/src/main.ts', FAKE_MAIN)
  write('fake-npm.cjs', FAKE_NPM)
  write('package.json', '{"type":"module"}')
  write('package-lock.json', '{}')
  copyFileSync(BOOTSTRAP, join(root, 'libs/cli/bootstrap.mjs'))
})
afterEach(() => rmSync(root, { recursive: true }))

function write(name: string, text: string): void {
  mkdirSync(dirname(join(root, name)), { recursive: true })
  writeFileSync(join(root, name), text)
}
const npmCalls = (): string[] =>
  existsSync(join(root, 'npm-calls')) ? readFileSync(join(root, 'npm-calls'), 'utf8').trim().split('\n') : []

interface Running {
  readonly child: ChildProcess
  readonly out: () => string
  readonly err: () => string
  readonly exitCode: Promise<number>
}

function launch(args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [join(root, 'libs/cli/bootstrap.mjs'), ...args], {
    cwd: root,
    env: { PATH: '/usr/bin:/bin', npm_execpath: join(root, 'fake-npm.cjs'), ...env },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  const exitCode = once(child, 'close').then(([code]) => code as number)
  return { child, out: () => out, err: () => err, exitCode }
}

async function run(args: readonly string[], env?: Record<string, string>) {
  const { exitCode, out, err } = launch(args, env)
  return { exitCode: await exitCode, out: out(), err: err() }
}

describe('bootstrap', () => {
  it('installs first when nothing is installed, says so, and leaves stdout to the child', async () => {
    const { exitCode, out, err } = await run(['docmesh', 'status', '--json'])
    expect(exitCode).toBe(7)
    expect(JSON.parse(out).args).toEqual(['status', '--json'])
    expect(err).toMatch(/^docmesh: installing the packages .*\nadded 285 packages\n$/)
    expect(npmCalls()).toEqual(['install --no-save --include=dev --loglevel=error --no-audit --no-fund'])
  })

  it('says and installs nothing when all is there', async () => {
    await run(['docmesh'])
    expect(await run(['docmesh'])).toMatchObject({ exitCode: 7, err: '' })
    expect(npmCalls()).toHaveLength(1)
  })

  it('installs again when the lock file is newer than what is installed, once, even if npm finds nothing to do', async () => {
    await run(['docmesh'])
    utimesSync(join(root, 'node_modules/.package-lock.json'), new Date(0), new Date(0))
    await run(['docmesh'])
    await run(['docmesh'])
    expect(npmCalls()).toHaveLength(2)
  })

  it('installs once when started twice at the same time', async () => {
    write('npm-waits', '')
    const both = [launch(['docmesh']), launch(['docmesh'])]
    await eventually(() =>
      expect(both.map(({ err }) => err()).join('')).toMatch(/process \d+ installs the packages already/),
    )
    rmSync(join(root, 'npm-waits'))
    expect(await Promise.all(both.map(({ exitCode }) => exitCode))).toEqual([7, 7])
    expect(npmCalls()).toHaveLength(1)
  })

  it.each([
    ['a process that died', 2 ** 22 + 1],
    ['a process whose pid another has now', process.pid],
  ])('takes over the lock of %s', async (_, pid) => {
    write(`.docmesh/installing/${pid}-1`, '')
    expect(await run(['docmesh'])).toMatchObject({ exitCode: 7 })
    expect(readdirSync(join(root, '.docmesh'))).toEqual([])
  })

  it('ends with 5 and what to do when npm fails, and gives the lock back', async () => {
    write('npm-fails', '')
    const { exitCode, out, err } = await run(['docmesh'])
    expect({ exitCode, out }).toEqual({ exitCode: 5, out: '' })
    expect(err).toContain('docmesh: npm install ended with 1 (read its message above')
    expect(readdirSync(join(root, '.docmesh'))).toEqual([])
  })

  it('hands `start` on as a command', async () => {
    const { out } = await run(['start', '--once'])
    expect(JSON.parse(out).args).toEqual(['start', '--once'])
  })

  it('runs vitest from the root for `test`', async () => {
    const vitest = 'process.stdout.write(JSON.stringify([process.argv.slice(2), process.cwd()]))'
    write('node_modules/vitest/vitest.mjs', vitest)
    const { exitCode, out } = await run(['test', 'libs/cli'], { npm_lifecycle_event: 'test', INIT_CWD: '/' })
    expect({ exitCode, out: JSON.parse(out) }).toEqual({ exitCode: 0, out: [['run', 'libs/cli'], root] })
  })

  it('puts the tools of the project first in PATH', async () => {
    const { out } = await run(['docmesh'])
    expect(JSON.parse(out).path).toBe(`${join(root, 'node_modules/.bin')}:/usr/bin:/bin`)
  })

  it('stands where the user called npm, so that a relative FILE is found', async () => {
    const under = join(root, 'libs')
    const { out } = await run(['docmesh'], { npm_lifecycle_event: 'docmesh', INIT_CWD: under })
    expect(JSON.parse(out).cwd).toBe(under)
  })

  it('passes signals on and ends as the child does', async () => {
    const running = launch(['docmesh', 'wait'])
    await once(running.child.stdout ?? running.child, 'data')
    running.child.kill('SIGTERM')
    expect(await running.exitCode).toBe(9)
  })

  it('falls back to the Node that runs it when npm has none', async () => {
    mkdirSync(join(root, 'node_modules'))
    write('node_modules/.package-lock.json', '{}')
    expect(await run(['docmesh'])).toMatchObject({ exitCode: 7, err: '' })
  })

  it('refuses what it does not know', async () => {
    const { exitCode, err } = await run(['stop'])
    expect(exitCode).toBe(5)
    expect(err).toBe('docmesh: "stop" is not one of start, test, docmesh\n')
  })

  it('ends the child when the shell that npm started it in has died', async () => {
    await run(['docmesh'])
    const command = `"${process.execPath}" libs/cli/bootstrap.mjs docmesh wait; true`
    const shell = spawn('/bin/sh', ['-c', command], { cwd: root, env: { PATH: '/usr/bin:/bin' } })
    await once(shell.stdout, 'data') // the child runs
    shell.kill('SIGTERM')
    await once(shell.stdout, 'close') // nobody is left who could write to it
    expect(shell.signalCode).toBe('SIGTERM')
  })
})
