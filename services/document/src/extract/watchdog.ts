import { isMainThread, Worker } from 'node:worker_threads'

const checkMs = 500

/**
 * Preloaded into every child: ends it when its parent is gone. It watches from a thread of its own, because a
 * parser in a loop never gets to hear that the channel closed, and nobody would be left to kill it.
 */
if (isMainThread) {
  new Worker(new URL(import.meta.url), { execArgv: [] }).unref()
} else {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
  }, checkMs)
}
