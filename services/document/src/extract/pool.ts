import { access } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type Child, ReaderLost, startChild } from './child.ts'
import { defaultLimits, type Extracted, ExtractionError } from './extracted.ts'
import type { Job } from './worker.ts'

export interface ExtractionPoolOptions {
  /** Documents read at the same time; 2 unless told. */
  readonly workers?: number
  /** Per document; 60 s unless told. */
  readonly wallMs?: number
  /** Per document; 45 s unless told. */
  readonly cpuMs?: number
  /** Resident size of a child; 1 GiB unless told. */
  readonly memoryBytes?: number
  readonly maxBytes?: number
  readonly maxPages?: number
  readonly maxTextChars?: number
  /** Documents after which a child is replaced; 200 unless told. */
  readonly recycleAfter?: number
  /** Where children get their empty folders; the system's unless told. */
  readonly tmpDir?: string
  /** Script of the children. */
  readonly workerPath?: string
}

interface ExtractionInput {
  readonly path: string
  readonly fileName?: string
  readonly mediaType?: string
  readonly signal?: AbortSignal
}

interface ExtractionPoolStats {
  readonly processes: number
  readonly busy: number
  readonly queued: number
  readonly completed: number
  readonly failed: number
  /** Children ended by a limit, an abort or a crash of their own. */
  readonly lost: number
  readonly recycled: number
}

export interface ExtractionPool {
  /** Errors: ExtractionError, the reason of the signal, or a system error when the file or a process cannot be had. First come, first served. */
  extract(input: ExtractionInput): Promise<Extracted>
  stats(): ExtractionPoolStats
  /** Fails what waits and runs, and settles when every child is gone. */
  close(): Promise<void>
}

interface Task {
  readonly input: ExtractionInput
  readonly resolve: (extracted: Extracted) => void
  readonly reject: (reason: unknown) => void
}

const ownWorker = fileURLToPath(new URL('./worker.ts', import.meta.url))

/** Children start when needed and stay warm; each reads one document at a time, and only that one can fail. */
export function createExtractionPool({
  workers = 2,
  wallMs = 60_000,
  cpuMs = 45_000,
  memoryBytes = 1024 ** 3,
  maxBytes = defaultLimits.maxBytes,
  maxPages = defaultLimits.maxPages,
  maxTextChars = defaultLimits.maxTextChars,
  recycleAfter = 200,
  tmpDir = tmpdir(),
  workerPath = ownWorker,
}: ExtractionPoolOptions = {}): ExtractionPool {
  const limits = { workers, wallMs, cpuMs, memoryBytes, maxBytes, maxPages, maxTextChars, recycleAfter }
  for (const [name, value] of Object.entries(limits)) {
    if (!(value >= 1)) throw new RangeError(`${name} must be at least 1`)
  }
  const queue: Task[] = []
  const children = new Set<Child>()
  const idle: Child[] = []
  const serving = new Set<Promise<void>>()
  const counts = { completed: 0, failed: 0, lost: 0, recycled: 0 }
  const closing = new AbortController()

  async function takeIdle(): Promise<Child | undefined> {
    for (let child = idle.pop(); child; child = idle.pop()) {
      if (child.state() === 'ready') return child
      await end(child)
    }
    return undefined
  }

  async function start(): Promise<Child> {
    const child = await startChild({ workerPath, tmpDir, wallMs, cpuMs, memoryBytes, recycleAfter })
    children.add(child)
    child.gone.then(() => children.delete(child))
    return child
  }

  async function giveBack(child: Child): Promise<void> {
    if (child.state() === 'ready' && !closing.signal.aborted) idle.push(child)
    else await end(child)
  }

  async function end(child: Child): Promise<void> {
    if (child.state() === 'gone') counts.lost++
    else counts.recycled++
    await child.kill(new ExtractionError('crashed'))
  }

  /** An idle child may have been killed without anybody knowing: then another one gets the job. */
  async function read(job: Job, stop: AbortSignal): Promise<Extracted> {
    for (;;) {
      const warm = await takeIdle()
      const child = warm ?? (await start())
      try {
        stop.throwIfAborted()
        return await child.run(job, stop)
      } catch (error) {
        if (!warm || !(error instanceof ReaderLost)) throw error
      } finally {
        await giveBack(child)
      }
    }
  }

  async function serve({ input, resolve, reject }: Task): Promise<void> {
    const { path, fileName, mediaType, signal } = input
    const stop = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal
    try {
      await access(path)
      const limits = { maxBytes, maxPages, maxTextChars }
      const extracted = await read({ path, fileName, mediaType, limits }, stop)
      counts.completed++
      resolve(extracted)
    } catch (error) {
      counts.failed++
      reject(error)
    }
  }

  function next(): void {
    while (serving.size < workers) {
      const task = queue.shift()
      if (!task) return
      const served = serve(task).finally(() => {
        serving.delete(served)
        next()
      })
      serving.add(served)
    }
  }

  return {
    extract(input) {
      const { promise, resolve, reject } = Promise.withResolvers<Extracted>()
      const { signal } = input
      if (closing.signal.aborted || signal?.aborted) {
        reject(closing.signal.aborted ? closing.signal.reason : signal?.reason)
        return promise
      }
      const task: Task = { input, resolve, reject }
      const onAbort = () => {
        const at = queue.indexOf(task)
        if (at < 0) return
        queue.splice(at, 1)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      queue.push(task)
      next()
      return promise.finally(() => signal?.removeEventListener('abort', onAbort))
    },
    stats: () => ({ processes: children.size, busy: serving.size, queued: queue.length, ...counts }),
    async close() {
      const reason = new Error('The extraction pool is closed')
      closing.abort(reason)
      for (const task of queue.splice(0)) task.reject(reason)
      await Promise.all(serving)
      await Promise.all([...children].map((child) => child.kill(reason)))
    },
  }
}
