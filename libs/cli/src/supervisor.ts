import type { Sink } from './io.ts'
import {
  type MendableProcess,
  type ProcessSpec,
  type Ready,
  type SupervisedProcess,
  supervise,
} from './supervised-process.ts'

export interface SupervisorOptions {
  readonly onChange?: (process: SupervisedProcess) => void
  /** Time that a process has to end after SIGTERM. Default 10,000. */
  readonly killAfterMs?: number
  /** Time that a process has to become ready for the first time, restarts included. Default 60,000. */
  readonly readyTimeoutMs?: number
  /** Gets a copy of all logs. */
  readonly echo?: Sink | undefined
}

export interface Supervisor {
  /** Starts processes and keeps them running. Resolves when all are ready; rejects when one gives up or takes too long. */
  start(specs: readonly ProcessSpec[]): Promise<readonly Ready[]>
  processes(): readonly MendableProcess[]
  /** Stops one process for good. */
  remove(process: MendableProcess): Promise<void>
  /** Resolves with the first process that gives up after it was ready. */
  readonly gaveUp: Promise<SupervisedProcess>
  /** Stops the processes started last first, the instances of one service together. */
  stop(): Promise<void>
  /** Ends all processes at once. */
  kill(): void
}

/** Keeps processes running and ends them in order. Which processes, and with what, is the caller's business. */
export function createSupervisor({
  onChange = () => {},
  killAfterMs = 10_000,
  readyTimeoutMs = 60_000,
  echo,
}: SupervisorOptions = {}): Supervisor {
  const processes: MendableProcess[] = []
  const gaveUp = Promise.withResolvers<SupervisedProcess>()
  let stopping: Promise<void> | undefined

  const wereReady = new WeakSet<SupervisedProcess>()

  const noticed = (changed: SupervisedProcess): void => {
    const { kind } = changed.state()
    if (kind === 'ready') wereReady.add(changed)
    if (kind === 'failed' && wereReady.has(changed)) gaveUp.resolve(changed)
    onChange(changed)
  }

  async function stopAll(): Promise<void> {
    const services = Map.groupBy(processes, ({ spec }) => spec.service)
    for (const instances of [...services.values()].reverse())
      await Promise.all(instances.map((instance) => instance.stop()))
  }

  return {
    async start(specs) {
      if (stopping) throw new Error('The supervisor is stopping.')
      const started = specs.map((spec) =>
        supervise(spec, { onChange: noticed, killAfterMs, isStopping: () => stopping !== undefined, echo }),
      )
      processes.push(...started)
      return Promise.all(started.map((instance) => withTimeout(instance, readyTimeoutMs)))
    },
    processes: () => processes,
    async remove(process) {
      await process.stop()
      const at = processes.indexOf(process)
      if (at >= 0) processes.splice(at, 1)
    },
    gaveUp: gaveUp.promise,
    stop() {
      stopping ??= stopAll()
      return stopping
    },
    kill() {
      for (const process of processes) process.kill()
    },
  }
}

async function withTimeout({ spec, ready }: SupervisedProcess, timeoutMs: number): Promise<Ready> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () =>
      late.reject(new Error(`${spec.name} was not ready after ${timeoutMs / 1_000} s; see ${spec.logFile}`)),
    timeoutMs,
  )
  try {
    return await Promise.race([ready, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
