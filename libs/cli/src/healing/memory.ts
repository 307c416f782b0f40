import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'

interface MemoryRequest {
  readonly kind: 'give-back-memory'
  readonly id: string
}

export interface MemoryAnswer {
  readonly kind: 'memory-given-back'
  readonly id: string
  readonly freedBytes: number
}

const isKind = (kind: string, message: unknown): boolean =>
  typeof message === 'object' && message !== null && 'kind' in message && message.kind === kind

export const isMemoryRequest = (message: unknown): message is MemoryRequest =>
  isKind('give-back-memory', message)

const isMemoryAnswer = (message: unknown): message is MemoryAnswer => isKind('memory-given-back', message)

/** Node's options that let a service answer. */
export const MEMORY_ARGS: readonly string[] = ['--expose-gc', '--import', import.meta.resolve('./preload.ts')]

/** Asks a service for memory that it can do without. Resolves with the bytes by which it shrank. */
export function giveBackMemory(child: ChildProcess, signal: AbortSignal): Promise<number> {
  const request: MemoryRequest = { kind: 'give-back-memory', id: randomUUID() }
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      child.off('message', hear)
      child.off('exit', ended)
      signal.removeEventListener('abort', abort)
    }
    const abort = (): void => {
      settle()
      reject(signal.reason)
    }
    const ended = (): void => {
      settle()
      reject(new Error('it ended'))
    }
    const hear = (message: unknown): void => {
      if (!isMemoryAnswer(message) || message.id !== request.id) return
      settle()
      resolve(message.freedBytes)
    }
    child.on('message', hear)
    child.once('exit', ended)
    signal.addEventListener('abort', abort, { once: true })
    child.send(request, (error) => {
      if (!error) return
      settle()
      reject(error)
    })
  })
}
