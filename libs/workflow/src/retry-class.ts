import { DatabaseUnavailable } from '@docmesh/postgres'
import { checkRange, createBackoff } from '@docmesh/resilience'
import { RpcError } from '@docmesh/rpc'

export interface RetryPolicy {
  /** Attempts in all, the first included. 1 to 100. */
  readonly attempts: number
  /** Which errors are worth another attempt. */
  readonly on: 'transient' | 'any'
}

/**
 * - `none`: one attempt.
 * - `transient`: eight attempts, two minutes in all, when the error says that it may pass.
 * - `patient`: twenty attempts, an hour in all, likewise: a system outside that may be away for long.
 * - `any`: five attempts whatever the error.
 */
export type RetryClass = 'none' | 'transient' | 'patient' | 'any'

const CLASSES: Readonly<Record<RetryClass, RetryPolicy>> = {
  none: { attempts: 1, on: 'any' },
  transient: { attempts: 8, on: 'transient' },
  patient: { attempts: 20, on: 'transient' },
  any: { attempts: 5, on: 'any' },
}

export function retryPolicy(retry: RetryClass | RetryPolicy): RetryPolicy {
  if (typeof retry === 'string') return CLASSES[retry]
  checkRange({ attempts: retry.attempts }, 1, 100, { whole: true })
  return retry
}

const SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EAI_AGAIN',
])

/** Time-outs, broken connections, and what another service says may pass. */
export function isTransient(error: unknown): boolean {
  if (error instanceof RpcError) return error.remote !== undefined || error.retryable
  if (error instanceof DatabaseUnavailable) return true
  if (!(error instanceof Error)) return false
  return error.name === 'TimeoutError' || ('code' in error && SYSTEM_CODES.has(String(error.code)))
}

export const mayRetry = ({ attempts, on }: RetryPolicy, attempt: number, error: unknown): boolean =>
  attempt < attempts && (on === 'any' || isTransient(error))

/** Pause after failed attempt n, from 1: 1 s, doubling up to 5 minutes, and up to 10 % more. */
export function retryDelay(random: () => number): (attempt: number) => number {
  const meanMs = createBackoff({ initialMs: 1_000, maxMs: 300_000, jitter: 0 }, random)
  return (attempt) => meanMs(attempt) * (1 + 0.1 * random())
}
