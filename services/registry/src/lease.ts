import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { RpcError } from '@docmesh/rpc'
import type { Health, Member, State } from './member.ts'

/** The stream that holds a lease: its identity proves who speaks, and the registry can speak back. */
export interface LeaseStream {
  /** The instance shall drain; undefined leaves the time to the instance. */
  drain?(graceMs: number | undefined): void
  /** The stream holds no lease any more. */
  end?(error: RpcError): void
}

/** An instance as it is listed, and what its listing rests on. */
export interface Lease {
  member: Member
  /** The replica that granted it; undefined for this one. */
  origin: string | undefined
  /** Proof that a request comes from the holder; '' when another replica granted the lease. Secret. */
  token: string
  stream: LeaseStream | undefined
  /** What the instance itself said last. */
  declared: State
  /** What the health checks found. */
  checked: Exclude<Health, 'degraded'>
  /** Its event loop lags. */
  lagging: boolean
  /** Its stream broke, and nothing was heard since. */
  streamLost: boolean
  /** Its process was asked to drain, and is asked again on a new stream until it says that it does. */
  drainOrder: { readonly graceMs: number | undefined } | undefined
  expiresAt: number
}

/** 128 bits. */
export const newToken = (): string => randomBytes(16).toString('base64url')

/** In a time that tells nothing of how much of the token is right. */
export function tokensMatch(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return expected !== '' && a.length === b.length && timingSafeEqual(a, b)
}

export const healthOf = ({ checked, lagging }: Pick<Lease, 'checked' | 'lagging'>): Health =>
  lagging && checked !== 'unhealthy' ? 'degraded' : checked

/** Draining ends with the process: nothing takes it back. */
export const declare = (lease: Pick<Lease, 'declared'>, state: State): State =>
  lease.declared === 'draining' ? 'draining' : state
