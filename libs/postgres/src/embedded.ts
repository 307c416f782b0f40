import { type ChildProcess, execFile, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './free-port.ts'
import { canEnter, postgresBinaries, type ServerUser, serverUser } from './postgres-binaries.ts'
import { findPostmaster, type Postmaster, poll, stopPostmaster } from './postmaster.ts'

export type EmbeddedPostgresOptions = {
  /** Folder of this server's data and log; made when missing. */
  dataDir: string
  /** Default: a free port, another one at each start. */
  port?: number
}

export type EmbeddedPostgres = {
  readonly url: string
  readonly port: number
  /** Fast shutdown; resolves when the server is gone. */
  stop(): Promise<void>
}

const START_TIMEOUT_MS = 60_000
const START_TRIES = 3
const PRIVATE_HOMES = '/var/lib/docmesh'

/**
 * Root's private folders are closed to the user that PostgreSQL runs as. Then the data lives under /var/lib/docmesh
 * and `dataDir` is a link to it.
 */
const prepareHome = (dataDir: string, user: ServerUser): string => {
  mkdirSync(dataDir, { recursive: true })
  const home = realpathSync(dataDir)
  if (user.uid === undefined || user.gid === undefined) return home
  const own = (folder: string): string => {
    chownSync(folder, user.uid ?? 0, user.gid ?? 0)
    chmodSync(folder, 0o700)
    return folder
  }
  if (canEnter(own(home), user)) return home
  try {
    rmdirSync(home)
  } catch (error) {
    throw new Error(`${dataDir} is not empty and the user "postgres" cannot reach it: move it elsewhere`, {
      cause: error,
    })
  }
  mkdirSync(PRIVATE_HOMES, { recursive: true })
  const reachable = own(mkdtempSync(join(PRIVATE_HOMES, 'postgres-')))
  symlinkSync(reachable, resolve(dataDir))
  return reachable
}

// Initialised under another name and renamed, so that a folder named `data` is always complete.
const initialise = async (native: string, home: string, data: string, user: ServerUser): Promise<void> => {
  const unfinished = join(home, `initdb-${process.pid}`)
  const args = ['--pgdata', unfinished, '--username', 'postgres', '--auth', 'trust', '--encoding', 'UTF8']
  const locale = ['--locale', 'C', '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8']
  try {
    await promisify(execFile)(join(native, 'bin', 'initdb'), [...args, ...locale], { ...user, cwd: home })
    if (!existsSync(data)) renameSync(unfinished, data)
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string }
    throw new Error(`initdb in ${home} failed: ${stderr.trim() || message}`)
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
  }
}

const lastLines = (file: string): string => readFileSync(file, 'utf8').trim().split('\n').slice(-8).join('\n')

type Launch = { native: string; home: string; data: string; port: number; user: ServerUser }

const launch = async ({ native, home, data, port, user }: Launch): Promise<Postmaster> => {
  const logFile = join(home, 'server.log')
  const log = openSync(logFile, 'a')
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'timezone=UTC',
    'log_timezone=UTC',
  ]
  // Its own session: a Ctrl-C in the terminal reaches only us, who stop the server after its clients.
  const child: ChildProcess = spawn(
    join(native, 'bin', 'postgres'),
    ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])],
    { ...user, cwd: home, detached: true, stdio: ['ignore', log, log] },
  )
  closeSync(log)
  let failed = false
  child.once('error', () => {
    failed = true
  })
  const exited = () => failed || child.exitCode !== null || child.signalCode !== null
  const ready = (): Postmaster | 'exited' | undefined => {
    if (exited()) return 'exited'
    const found = findPostmaster(data)
    return found?.pid === child.pid && found?.ready ? found : undefined
  }
  const outcome = await poll(ready, START_TIMEOUT_MS)
  if (outcome !== undefined && outcome !== 'exited') return outcome
  child.kill('SIGINT')
  throw new Error(
    `PostgreSQL in ${home} ${outcome === 'exited' ? 'ended while starting' : 'did not start in time'}; ${logFile} ends with:\n${lastLines(logFile)}`,
  )
}

const adopt = async (data: string, port: number | undefined): Promise<Postmaster | undefined> => {
  if (findPostmaster(data) === undefined) return undefined
  const running = await poll(() => {
    const found = findPostmaster(data)
    return found === undefined || found.ready ? { found } : undefined
  }, START_TIMEOUT_MS)
  if (running?.found === undefined) return undefined
  if (port === undefined || running.found.port === port) return running.found
  await stopPostmaster(running.found.pid, data)
  return undefined
}

/**
 * Starts the PostgreSQL that npm installed, on 127.0.0.1 with trust authentication, or adopts the one that a killed
 * parent left running in this folder. Whoever stops it stops it for all: one process per folder at a time.
 */
export const startEmbeddedPostgres = async ({
  dataDir,
  port,
}: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> => {
  const user = serverUser()
  const home = prepareHome(dataDir, user)
  const data = join(home, 'data')
  const native = postgresBinaries(home, user)
  if (!existsSync(data)) await initialise(native, home, data, user)

  let running = await adopt(data, port)
  for (let tries = 1; running === undefined; tries++) {
    try {
      running = await launch({ native, home, data, port: port ?? (await freePort()), user })
    } catch (error) {
      running = await adopt(data, port)
      if (running === undefined && (port !== undefined || tries === START_TRIES)) throw error
    }
  }
  const { pid, port: listening } = running
  return {
    url: `postgres://postgres@127.0.0.1:${listening}/postgres`,
    port: listening,
    stop: () => stopPostmaster(pid, data),
  }
}
