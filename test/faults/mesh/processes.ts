import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface Running {
  readonly process: ChildProcess
  readonly instanceId: string
  readonly address: string
}

export interface ForkOptions {
  readonly env: Readonly<Record<string, string>>
  /** Runs it inside this network namespace. */
  readonly namespace?: string
}

const READY_MS = 30_000

/** Starts one of our services and waits until it takes calls. @throws Error if it ends or stays silent first. */
export async function startNode(script: URL, { env, namespace }: ForkOptions): Promise<Running> {
  const path = fileURLToPath(script)
  const options = { env: { ...process.env, LOG_LEVEL: 'fatal', ...env } }
  const child = namespace
    ? spawn('ip', ['netns', 'exec', namespace, process.execPath, path], {
        ...options,
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      })
    : fork(path, options)
  const gone = once(child, 'exit').then(([code]) => {
    throw new Error(`${path} ended with ${code} before it was ready`)
  })
  const silent = AbortSignal.timeout(READY_MS)
  const [ready] = await Promise.race([once(child, 'message', { signal: silent }), gone])
  gone.catch(() => {})
  return { process: child, ...(ready as { instanceId: string; address: string }) }
}

export const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode !== null || signalCode !== null

/** Sends the signal and waits for the end; SIGKILL follows after 10 s. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (hasEnded(child)) return
  const exited = once(child, 'exit')
  child.kill('SIGCONT')
  child.kill(signal)
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await exited
  clearTimeout(force)
}
