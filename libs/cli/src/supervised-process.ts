import { type ChildProcess, type ForkOptions, fork } from 'node:child_process'
import { appendFileSync, closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'
import { giveBackMemory } from './healing/memory.ts'
import { vitalsOf } from './healing/vitals.ts'
import type { Sink } from './io.ts'
import { createRestartPolicy } from './restart-policy.ts'

export interface ProcessSpec {
  /** Name of this process, unique: `document-1`. */
  readonly name: string
  /** What it is an instance of: `document`. */
  readonly service: string
  readonly script: string
  readonly execArgv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Gets what the process writes; instances of a service share it. */
  readonly logFile: string
}

export type ProcessState =
  | { readonly kind: 'starting' }
  | ({ readonly kind: 'ready' } & Ready)
  | { readonly kind: 'restarting'; readonly delayMs: number; readonly ended: string }
  | { readonly kind: 'failed'; readonly why: string }
  | { readonly kind: 'stopping' }
  | { readonly kind: 'stopped' }

/** What a service tells its parent when it takes calls. */
export interface Ready {
  readonly kind: 'ready'
  readonly address: string
  /** Where its health is. */
  readonly adminAddress?: string
  /** What the mesh knows it by. */
  readonly instanceId?: string
}

export interface SupervisedProcess {
  readonly spec: ProcessSpec
  state(): ProcessState
  /** Resolves when the process is ready for the first time; rejects when it gave up or was stopped before. */
  readonly ready: Promise<Ready>
  /** SIGTERM, then SIGKILL after `killAfterMs`, at once if it is frozen; once, when nothing is to be started again. Resolves when it is gone. */
  stop(): Promise<void>
  kill(): void
}

/** A supervised process in the hands of whoever mends it. */
export interface MendableProcess extends SupervisedProcess {
  /** Resolves when the process takes calls: at once, or after its next start; rejects when it will not start again. */
  takesCalls(): Promise<Ready>
  /** Ends the process as `stop` does; the restart policy starts it again, not before `holdMs`. Resolves when it is gone. */
  restart(holdMs?: number): Promise<void>
  /** Undefined while it does not run. */
  pid(): number | undefined
  /** Asks for memory that it can do without. Resolves with the bytes by which it shrank. */
  giveBackMemory(signal: AbortSignal): Promise<number>
}

export interface SupervisedProcessDeps {
  readonly onChange: (process: SupervisedProcess) => void
  readonly killAfterMs: number
  /** True once nothing is to be started again. */
  readonly isStopping: () => boolean
  /** Gets a copy of the log. */
  readonly echo?: Sink | undefined
}

const isReady = (message: unknown): message is Ready =>
  typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'ready'

/** Keeps one process running: starts it, restarts it with back-off when it dies, stops it. */
export function supervise(
  spec: ProcessSpec,
  { onChange, killAfterMs, isStopping, echo }: SupervisedProcessDeps,
): MendableProcess {
  const policy = createRestartPolicy(() => performance.now())
  const ready = Promise.withResolvers<Ready>()
  ready.promise.catch(() => {}) // whoever waits hears of it; nobody has to wait
  /** Who waits for the end of the process that runs now, and for the next that takes calls. */
  let gone = Promise.withResolvers<void>()
  let next: PromiseWithResolvers<Ready> | undefined
  let holdMs = 0
  let state: ProcessState = { kind: 'starting' }
  let child: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined

  function enter(entered: ProcessState): void {
    state = entered
    const over = entered.kind === 'failed' || entered.kind === 'stopped'
    if (entered.kind === 'ready') next?.resolve(entered)
    else if (over) next?.reject(new Error(`${spec.name} is ${entered.kind}`))
    if (entered.kind === 'ready' || over) next = undefined
    onChange(supervised)
  }

  function launch(): void {
    policy.started()
    try {
      const log = openSync(spec.logFile, 'a')
      try {
        follow(fork(spec.script, optionsOf(log)), fstatSync(log).size)
      } finally {
        closeSync(log)
      }
    } catch (error) {
      ended(null, (error as Error).message, 0) // a full disk, too many files: it may work later
    }
  }

  const optionsOf = (log: number): ForkOptions => ({
    execArgv: [...spec.execArgv],
    env: { ...spec.env },
    // Its own session: a Ctrl-C in the terminal reaches only us, who stop the processes in their order.
    detached: true,
    stdio: ['ignore', log, echo ? 'pipe' : log, 'ipc'],
  })

  function follow(launched: ChildProcess, logStart: number): void {
    child = launched
    launched.stderr?.on('data', (chunk: Buffer) => {
      echo?.write(chunk)
      try {
        appendFileSync(spec.logFile, chunk)
      } catch {
        // What cannot be kept has been shown.
      }
    })
    launched.on('message', (message) => {
      if (!isReady(message) || state.kind !== 'starting') return
      enter(message)
      ready.resolve(message)
    })
    launched.once('error', (error) => ended(null, error.message, logStart))
    launched.once('exit', (code, signal) =>
      ended(code, signal ?? (code === null ? 'it ended' : `exit code ${code}`), logStart),
    )
  }

  function ended(code: number | null, how: string, logStart: number): void {
    child = undefined
    gone.resolve()
    gone = Promise.withResolvers()
    if (isStopping() || state.kind === 'stopping') {
      enter({ kind: 'stopped' })
      return
    }
    if (state.kind !== 'starting' && state.kind !== 'ready') return
    const decision = policy.ended(code)
    if (decision.kind === 'give-up') {
      const why = lastWords(spec.logFile, logStart) || `${decision.reason} (${how})`
      enter({ kind: 'failed', why })
      ready.reject(
        new CliError(EXIT.failed, `${spec.name} cannot start: ${why}`, 'correct it and start again'),
      )
      return
    }
    const delayMs = Math.max(decision.delayMs, holdMs)
    holdMs = 0
    timer = setTimeout(() => {
      if (isStopping()) return
      enter({ kind: 'starting' })
      launch()
    }, delayMs)
    enter({ kind: 'restarting', delayMs, ended: how })
  }

  async function end(running: ChildProcess): Promise<void> {
    const ended = gone.promise
    const frozen = running.pid !== undefined && vitalsOf(running.pid)?.stopped
    running.kill(frozen ? 'SIGKILL' : 'SIGTERM')
    const killing = setTimeout(() => running.kill('SIGKILL'), killAfterMs)
    await ended
    clearTimeout(killing)
  }

  const supervised: MendableProcess = {
    spec,
    state: () => state,
    ready: ready.promise,
    async takesCalls() {
      if (state.kind === 'ready') return state
      if (state.kind === 'failed' || state.kind === 'stopped')
        throw new Error(`${spec.name} is ${state.kind}`)
      next ??= Promise.withResolvers()
      return next.promise
    },
    async restart(forMs = 0) {
      if (!child) return
      holdMs = forMs
      await end(child)
    },
    pid: () => child?.pid,
    async giveBackMemory(signal) {
      if (!child) throw new Error(`${spec.name} does not run`)
      return giveBackMemory(child, signal)
    },
    async stop() {
      if (state.kind === 'stopped' || state.kind === 'failed') return
      clearTimeout(timer)
      ready.reject(new Error(`${spec.name} was stopped`))
      if (!child) {
        enter({ kind: 'stopped' })
        return
      }
      enter({ kind: 'stopping' })
      await end(child)
    },
    kill: () => void child?.kill('SIGKILL'),
  }
  onChange(supervised)
  launch()
  return supervised
}

/** Of a log, from its end. */
const LAST_BYTES = 64 * 1024

/** What a process wrote for people before it ended; its JSON log lines are for machines. */
const lastWords = (logFile: string, start: number): string =>
  tailOf(logFile, start)
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('{'))
    .slice(-12)
    .join('\n')

/** What was written after `start`, as far as it is short; a log can be longer than what fits in memory, or gone. */
function tailOf(logFile: string, start: number): string {
  try {
    const file = openSync(logFile, 'r')
    try {
      const from = Math.max(start, fstatSync(file).size - LAST_BYTES)
      const bytes = Buffer.alloc(LAST_BYTES)
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, LAST_BYTES, from))
    } finally {
      closeSync(file)
    }
  } catch {
    return ''
  }
}
