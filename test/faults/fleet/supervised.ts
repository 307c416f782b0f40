import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { end } from '../mesh/processes.ts'

/** One instance of a service, started again with the same environment whenever it ends. */
export interface Supervised {
  /** Resolves when its process of now, or the next one, takes calls. */
  ready(): Promise<void>
  /** SIGKILL to a process that is ready; resolves when it is gone, and the next one is on its way. */
  kill(): Promise<void>
  /** SIGSTOP to a process that is ready; what was frozen already stays so. */
  freeze(): Promise<void>
  /** SIGCONT. */
  thaw(): void
  stop(): Promise<void>
}

const RESTART_MS = 100

/** Resolves when it is ready for the first time. @throws Error when it ends before. */
export async function supervise(script: URL, env: Readonly<Record<string, string>>): Promise<Supervised> {
  const path = fileURLToPath(script)
  let timer: NodeJS.Timeout | undefined
  let stopping = false
  let isReady = false
  let ready = Promise.withResolvers<void>()

  function launch(): ChildProcess {
    const launched = fork(path, { env: { ...process.env, LOG_LEVEL: 'fatal', ...env } })
    launched.once('message', () => {
      isReady = true
      ready.resolve()
    })
    launched.once('exit', () => {
      if (isReady) ready = Promise.withResolvers()
      isReady = false
      // One that cannot start, for what it needs is away, is tried again as well.
      if (!stopping) timer = setTimeout(relaunch, RESTART_MS)
    })
    return launched
  }

  let child = launch()
  function relaunch(): void {
    child = launch()
  }

  const supervised: Supervised = {
    ready: () => ready.promise,
    async kill() {
      await ready.promise
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
    async freeze() {
      await ready.promise
      child.kill('SIGSTOP')
    },
    thaw: () => void child.kill('SIGCONT'),
    async stop() {
      stopping = true
      clearTimeout(timer)
      await end(child)
    },
  }
  const gone = once(child, 'exit').then(([code]) => {
    throw new Error(`${path} ended with ${code} before it was ready`)
  })
  gone.catch(() => {}) // later ends are what the lab is for
  try {
    await Promise.race([ready.promise, gone])
  } catch (error) {
    await supervised.stop()
    throw error
  }
  return supervised
}
