// The narrow waist of libs/rpc: everything above it (clients, handlers, layers, the mesh) is the same for every transport.
import type { Metadata } from './metadata.ts'
import type { Method } from './method.ts'

/** A call on its way out. `deadline` is epoch milliseconds; aborting `signal` cancels the call on the wire. */
export interface OutgoingCall {
  readonly method: Method
  readonly metadata: Metadata
  readonly deadline: number
  readonly signal: AbortSignal | undefined
}

/**
 * A connection to one address. It connects on first use and reconnects by itself; calls on a connection that is down
 * fail at once with UNAVAILABLE. Both call forms reject with {@link TransportError} and nothing else.
 */
export interface Connection {
  readonly address: string
  unary(call: OutgoingCall, request: Uint8Array): Promise<Uint8Array>
  stream(call: OutgoingCall, requests: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>
  /** Calls in flight finish; new ones fail. */
  close(): void
}

export interface ClientTransport {
  connect(address: string): Connection
}

/** A call that came in. `signal` aborts when the caller cancels, goes away, or its deadline passes. */
export interface IncomingCall {
  readonly metadata: Metadata
  readonly peer: string
  /** Epoch milliseconds; Infinity when the caller set none. */
  readonly deadline: number
  readonly signal: AbortSignal
}

export interface Route {
  readonly method: Method
  /** For unary methods. Rejects with {@link TransportError} and nothing else. */
  unary(call: IncomingCall, request: Uint8Array): Promise<Uint8Array>
  /** For all others. */
  stream(call: IncomingCall, requests: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>
}

export interface Listener {
  /** `host:port` as bound, with the real port when 0 was asked for. */
  readonly address: string
  /**
   * GOAWAY, then waits for calls in flight; those still running after `graceMs` are cut off. A streamed answer that has
   * nothing to send is not waited for: it ends with SHUTTING_DOWN, so that its reader goes to another instance.
   */
  close(graceMs: number): Promise<void>
}

export interface ServerTransport {
  listen(address: string, routes: readonly Route[]): Promise<Listener>
}

/** A call that did not end with OK, exactly as the wire said it. */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  readonly code: number
  readonly metadata: Metadata
  /** True when no peer answered: connection refused, reset, or never made. */
  readonly connectionFailed: boolean
  /** True when the request certainly never left: safe to send again, whatever the method. */
  readonly notSent: boolean

  constructor(
    code: number,
    message: string,
    metadata: Metadata = {},
    { connectionFailed = false, notSent = false }: { connectionFailed?: boolean; notSent?: boolean } = {},
  ) {
    super(message)
    this.code = code
    this.metadata = metadata
    this.connectionFailed = connectionFailed
    this.notSent = notSent
  }
}
