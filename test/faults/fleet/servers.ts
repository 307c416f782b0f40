// PostgreSQL, NATS and Redis of a lab's own: each can be killed and comes back at its address with what it had kept.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import { end } from '../mesh/processes.ts'
import { NotPossible } from './not-possible.ts'

export interface Server {
  readonly url: string
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  /** In order, as fast as that goes; resolves when the process is gone. */
  stop(): Promise<void>
  /** After `kill` or `stop`; resolves when it answers. */
  start(): Promise<void>
}

const ANSWER_MS = 1_000
const START = { timeoutMs: 30_000, intervalMs: 100 }

export async function startPostgres(folder: string, port: number): Promise<Server> {
  const dataDir = join(folder, 'postgres')
  const launch = () => startEmbeddedPostgres({ dataDir, port })
  let server = await launch()
  return {
    url: server.url,
    async kill() {
      const pid = Number(readFileSync(join(dataDir, 'data', 'postmaster.pid'), 'utf8').split('\n')[0])
      process.kill(pid, 'SIGKILL')
      await eventually(() => {
        if (isAlive(pid)) throw new Error(`PostgreSQL ${pid} is still there`)
      })
    },
    async start() {
      // Backends of the killed server hold its memory for a moment longer.
      server = await eventually(launch, START)
    },
    stop: () => server.stop(),
  }
}

export const startNats = (folder: string, port: number): Promise<Server> =>
  startDaemon({
    command: 'nats-server',
    args: ['--jetstream', '--addr', '127.0.0.1', '--port', `${port}`, '--store_dir', join(folder, 'nats')],
    url: `nats://127.0.0.1:${port}`,
    greeting: '',
    answer: /^INFO .*"jetstream":\s*true/,
  })

/** Keeps nothing over a restart, as the registry needs nothing kept. */
export const startRedis = (folder: string, port: number): Promise<Server> =>
  startDaemon({
    command: 'redis-server',
    args: ['--bind', '127.0.0.1', '--port', `${port}`, '--save', '', '--appendonly', 'no', '--dir', folder],
    url: `redis://127.0.0.1:${port}`,
    greeting: 'PING\r\n',
    answer: /^\+PONG/,
  })

interface Daemon {
  readonly command: string
  readonly args: readonly string[]
  readonly url: string
  /** Sent on connecting. */
  readonly greeting: string
  /** What it says first once it serves. */
  readonly answer: RegExp
}

async function startDaemon({ command, args, url, greeting, answer }: Daemon): Promise<Server> {
  async function launch(): Promise<ChildProcess> {
    const child = spawn(command, args, { stdio: 'ignore' })
    await once(child, 'spawn').catch((cause) => {
      throw new NotPossible(`no ${command} here`, { cause })
    })
    try {
      await eventually(() => answers(url, greeting, answer), START)
    } catch (error) {
      await end(child, 'SIGKILL')
      throw error
    }
    return child
  }
  let child = await launch()
  return {
    url,
    kill: () => end(child, 'SIGKILL'),
    async start() {
      child = await launch()
    },
    stop: () => end(child),
  }
}

async function answers(url: string, greeting: string, expected: RegExp): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  try {
    socket.write(greeting)
    const [data] = await once(socket, 'data', { signal: AbortSignal.timeout(ANSWER_MS) })
    if (!expected.test(String(data))) throw new Error(`${url} says ${data}`)
  } finally {
    socket.destroy()
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
