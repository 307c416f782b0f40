import { type ChildProcess, fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { type Extracted, ExtractionError } from './extracted.ts'
import { folderPrefix } from './folders.ts'
import type { Job, Message } from './worker.ts'

export interface ChildOptions {
  readonly workerPath: string
  readonly tmpDir: string
  readonly wallMs: number
  readonly cpuMs: number
  readonly memoryBytes: number
  readonly recycleAfter: number
}

export interface Child {
  /**
   * One job at a time. Errors: ExtractionError; ReaderLost; a system error when the file or the process cannot be had;
   * or the reason of `signal`, or of `kill`.
   */
  run(job: Job, signal: AbortSignal | undefined): Promise<Extracted>
  /** SIGKILL; a running job fails with `reason`. Settles when the process is gone. */
  kill(reason: Error): Promise<void>
  /** Settles when the process and its folder are gone. */
  readonly gone: Promise<void>
  /** Worn: better replaced before the next document. */
  state(): 'ready' | 'worn' | 'gone'
}

/** The process ended before it began to read, so the document is not the reason. The message ends with its last words. */
export class ReaderLost extends Error {
  override readonly name = 'ReaderLost'

  constructor(lastWords: string) {
    super(`The process that reads documents ended before it began. ${lastWords}`.trim())
  }
}

/** Time to start and to take a job: much, because a busy machine is no fault of the document. */
const startMs = 60_000
const pollMs = 50
const stderrChars = 4_096
const watchdog = new URL('./watchdog.ts', import.meta.url).href
const heapExhausted = /heap out of memory|allocation failed/i

/**
 * A process that reads documents: no environment, no way to write files or start programs, an empty folder of
 * its own. V8 and wasm reserve address space by gigabytes, so RLIMIT_AS cannot cap them: the heap has its own
 * cap and the resident size is polled. Without /proc only the wall time and the heap are capped.
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  const { workerPath, tmpDir, wallMs, cpuMs, memoryBytes, recycleAfter } = options
  const folder = await mkdtemp(folderPrefix(tmpDir))
  const process = fork(workerPath, [], {
    cwd: folder,
    env: { LANG: 'C.UTF-8', TZ: 'UTC', TMPDIR: folder },
    execArgv: [
      `--max-old-space-size=${Math.max(64, Math.floor(memoryBytes / 2 / 1024 / 1024))}`,
      '--permission',
      '--allow-fs-read=*',
      '--allow-worker',
      '--disallow-code-generation-from-strings',
      '--import',
      watchdog,
    ],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let stderr = ''
  process.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr = (stderr + chunk).slice(-stderrChars)
  })

  let fate: unknown
  let settle: ((result: { extracted: Extracted } | { error: unknown }) => void) | undefined
  let served = 0
  let begun = false
  let begin: (() => void) | undefined
  let dead = false
  let spoiled = false

  const exited = new Promise<void>((resolve) => {
    process.once('close', () => resolve())
    process.once('error', (error) => {
      fate ??= error
      if (process.pid === undefined) resolve()
    })
  })
  const gone = exited.then(async () => {
    dead = true
    settle?.({ error: fate ?? lost() })
    // What cannot be removed now goes when a service starts, see `removeLeftFolders`.
    await rm(folder, { recursive: true, force: true }).catch(() => {})
  })

  function lost(): Error {
    if (!begun) return new ReaderLost(stderr)
    return new ExtractionError(heapExhausted.test(stderr) ? 'memory_limit' : 'crashed')
  }

  function kill(reason: unknown): Promise<void> {
    fate ??= reason
    process.kill('SIGKILL')
    return gone
  }

  process.on('message', (reply: Message) => {
    if (reply === 'begun') return begin?.()
    served++
    if (reply.ok) return settle?.({ extracted: reply.extracted })
    if ('code' in reply) return settle?.({ error: unreadableFile(reply.code) })
    spoiled = reply.failure === 'crashed' || reply.failure === 'memory_limit'
    settle?.({ error: new ExtractionError(reply.failure, reply.detail) })
  })

  async function run(job: Job, signal: AbortSignal | undefined): Promise<Extracted> {
    begun = false
    if (dead) throw lost()
    const { promise, resolve } = Promise.withResolvers<{ extracted: Extracted } | { error: unknown }>()
    settle = resolve
    let wall = setTimeout(() => kill(new ReaderLost('It did not start in time.')), startMs)
    let cpuMsBefore = Number.POSITIVE_INFINITY
    begin = () => {
      begun = true
      clearTimeout(wall)
      wall = setTimeout(() => kill(new ExtractionError('time_limit')), wallMs)
      cpuMsBefore = usage(process)?.cpuMs ?? 0
    }
    const poll = setInterval(() => {
      const now = usage(process)
      if (!now) return
      if (now.cpuMs - cpuMsBefore > cpuMs) kill(new ExtractionError('time_limit'))
      else if (now.residentBytes > memoryBytes) kill(new ExtractionError('memory_limit'))
    }, pollMs)
    const onAbort = () => kill(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      process.send(job, (error) => error && kill(lost()))
      const result = await promise
      if ('error' in result) throw result.error
      return result.extracted
    } finally {
      settle = undefined
      begin = undefined
      clearTimeout(wall)
      clearInterval(poll)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  function state() {
    if (dead || fate !== undefined) return 'gone'
    // wasm memory never shrinks: half of the cap in use before a document starts is too much.
    const bloated = (usage(process)?.residentBytes ?? 0) > memoryBytes / 2
    return spoiled || bloated || served >= recycleAfter ? 'worn' : 'ready'
  }

  return { run, kill, gone, state }
}

const unreadableFile = (code: string): Error =>
  Object.assign(new Error(`The file cannot be read (${code}).`), { code })

/** User and system time (in ticks of 10 ms, fixed by the kernel's interface) and resident size, on Linux. */
function usage({ pid }: ChildProcess): { cpuMs: number; residentBytes: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const resident = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
    return {
      cpuMs: (Number(fields[11]) + Number(fields[12])) * 10,
      residentBytes: Number(resident ?? 0) * 1024,
    }
  } catch {
    return undefined
  }
}
