// `npm start`, `npm test` and `npm run docmesh` begin here, on any Node from 18 and before anything is installed:
// installs what the lock file says when it is not there, then hands over to Node 24. stdout belongs to the child alone.
import { spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const BIN = join(ROOT, 'node_modules', '.bin')
const INSTALLED = join(ROOT, 'node_modules', '.package-lock.json')
const LOCK = join(ROOT, '.docmesh', 'installing')
const MAIN = join(ROOT, 'libs', 'cli', 'src', 'main.ts')
const WANTED_MAJOR = 24
const POLL_MS = 200
const ORPHAN_POLL_MS = 500

const TARGETS = {
  start: (args) => [MAIN, 'start', ...args],
  docmesh: (args) => [MAIN, ...args],
  test: (args) => [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...args],
}

const say = (line) => process.stderr.write(`docmesh: ${line}\n`)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const modified = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY

const installed = () => modified(INSTALLED) >= modified(join(ROOT, 'package-lock.json'))

/** Runs a program with our signals passed on to it and returns its exit code; rejects when it cannot be started. */
function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, options)
    const forward = (signal) => child.kill(signal)
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, forward)
    // npm passes a signal to its shell alone, which dies of it and tells nobody: then npm's end is the signal.
    const parent = process.ppid
    const orphaned = setInterval(() => process.ppid !== parent && forward('SIGTERM'), ORPHAN_POLL_MS).unref()
    const ended = () => {
      clearInterval(orphaned)
      for (const signal of signals) process.off(signal, forward)
    }
    child.once('error', (error) => {
      ended()
      reject(error)
    })
    child.once('exit', (code, signal) => {
      ended()
      resolve(code ?? 128 + (constants.signals[signal] ?? 0))
    })
  })
}

/** When a process began, in ticks of the machine: pids are used again. Empty where the system does not tell. */
function birthOf(pid) {
  try {
    const [, fields = ''] = /^.*\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return fields.split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

const nameOf = (pid) => `${pid}-${birthOf(pid)}`

function lives(name) {
  const pid = Number.parseInt(name, 10)
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (error.code === 'ESRCH') return false
  }
  return pid !== process.pid && nameOf(pid) === name
}

function holders() {
  try {
    return readdirSync(LOCK)
  } catch {
    return []
  }
}

/**
 * The lock is a folder with one file, named after its holder. A folder with something in it cannot be replaced, and what a
 * dead process left is removed by its name: so nobody takes away what another has just taken.
 */
async function lock() {
  const draft = `${LOCK}-${nameOf(process.pid)}`
  mkdirSync(draft, { recursive: true })
  writeFileSync(join(draft, nameOf(process.pid)), '')
  for (let told = false; ; ) {
    try {
      renameSync(draft, LOCK)
      return
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error
    }
    const found = holders()
    const holder = found.find(lives)
    if (!holder) for (const name of found) rmSync(join(LOCK, name), { force: true })
    else {
      if (!told) say(`process ${Number.parseInt(holder, 10)} installs the packages already; waiting for it`)
      told = true
      await sleep(POLL_MS)
    }
  }
}

function unlock() {
  rmSync(join(LOCK, nameOf(process.pid)), { force: true })
  try {
    rmdirSync(LOCK)
  } catch {
    // Somebody who waited has it by now.
  }
}

/**
 * What the lockfile pins, without touching it; `npm ci` would refuse a lockfile that lacks packages of other platforms
 * (docs/adr/0002-two-commands.md). Under npm its own file is known; otherwise the shell finds npm.
 */
async function npmInstall() {
  const args = ['install', '--no-save', '--include=dev', '--loglevel=error', '--no-audit', '--no-fund']
  const npm = process.env.npm_execpath
  const options = { cwd: ROOT, stdio: ['ignore', 2, 2] }
  return npm && /\.[cm]?js$/.test(npm)
    ? run(process.execPath, [npm, ...args], options)
    : run('npm', args, { ...options, shell: process.platform === 'win32' })
}

async function install() {
  if (installed()) return
  await lock()
  try {
    if (installed()) return
    say('installing the packages of package-lock.json; this happens once and takes a minute')
    const code = await npmInstall()
    if (code >= 128) process.exit(code)
    if (code !== 0) throw new Error(`npm install ended with ${code} (read its message above, then try again)`)
    utimesSync(INSTALLED, new Date(), new Date()) // npm leaves it alone when there was nothing to do
  } finally {
    unlock()
  }
}

/** The Node that npm installed, then the one that runs this file when it is new enough. */
function nodes() {
  const running = Number(process.versions.node.split('.')[0]) >= WANTED_MAJOR ? [process.execPath] : []
  return [join(BIN, 'node'), ...running].filter((file) => existsSync(file))
}

async function handOver(target, args) {
  const env = { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}` }
  // npm moves to the root of the project; a FILE is meant from where the user stands.
  const cwd =
    target === 'test' ? ROOT : (process.env.npm_lifecycle_event && process.env.INIT_CWD) || process.cwd()
  for (const node of nodes()) {
    try {
      return await run(node, TARGETS[target](args), { cwd, env, stdio: 'inherit' })
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOEXEC'].includes(error.code)) throw error
    }
  }
  throw new Error(
    `Node ${WANTED_MAJOR} is needed and npm has none for ${process.platform}-${process.arch}; this is ${process.version} ` +
      `(install Node ${WANTED_MAJOR} from https://nodejs.org and try again)`,
  )
}

const [target = '', ...args] = process.argv.slice(2)
try {
  if (!Object.hasOwn(TARGETS, target)) throw new Error(`"${target}" is not one of start, test, docmesh`)
  await install()
  process.exitCode = await handOver(target, args)
} catch (error) {
  say(error.message)
  process.exitCode = 5
}
