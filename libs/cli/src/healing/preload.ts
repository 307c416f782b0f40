// Loaded into each service that `docmesh up` starts, before the service itself: answers its supervisor.
import { isMainThread } from 'node:worker_threads'
import { isMemoryRequest, type MemoryAnswer } from './memory.ts'

/**
 * The collection of last resort gives back what V8 keeps for speed: compiled code, caches, spare pages. Only whoever
 * holds the channel can ask for it, so not the network.
 */
function answer(message: unknown): void {
  if (!isMemoryRequest(message)) return
  const before = process.memoryUsage.rss()
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  const freedBytes = Math.max(0, before - process.memoryUsage.rss())
  process.send?.({ kind: 'memory-given-back', id: message.id, freedBytes } satisfies MemoryAnswer)
}

if (isMainThread && process.send) process.on('message', answer)
