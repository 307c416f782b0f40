import { codeOf, ERRORS, isRetryable, type Reason } from './catalogue.ts'
import type { Code } from './codes.ts'

export interface FieldViolation {
  readonly field: string
  readonly description: string
}

export interface RpcErrorOptions {
  /** Fields of the request that are wrong; become BadRequest. */
  readonly fields?: readonly FieldViolation[]
  /** The thing that was asked for; becomes ResourceInfo. */
  readonly resource?: { readonly type: string; readonly name: string }
  /** When to try again; becomes RetryInfo. */
  readonly retryAfterMs?: number
  /** What limit was passed; becomes QuotaFailure. */
  readonly quota?: { readonly subject: string; readonly description: string }
  /** Small facts for programs; become ErrorInfo.metadata. Never secrets. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/**
 * The one error class of docmesh. On the way out of a process it becomes google.rpc.Status with its details; on the way
 * in it is rebuilt from them, and then `remote` says who sent it.
 */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly code: Code
  readonly reason: string
  readonly options: RpcErrorOptions
  readonly remote: RemoteFailure | undefined

  constructor(
    code: Code,
    reason: string,
    message: string,
    options: RpcErrorOptions = {},
    remote?: RemoteFailure,
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.reason = reason
    this.options = options
    this.remote = remote
  }

  get retryable(): boolean {
    return this.reason in ERRORS && isRetryable(this.reason as Reason)
  }
}

/** How a call to another process failed. */
export interface RemoteFailure {
  readonly method: string
  /** True when no peer answered. */
  readonly connectionFailed: boolean
  /** True when the request certainly never left. */
  readonly notSent: boolean
  /** Server's wish for the next attempt in milliseconds; negative means never; undefined means none. */
  readonly pushbackMs: number | undefined
}

/** `throw rpcError('DOCUMENT_NOT_FOUND', 'No document has the id "x".', { resource: … })` */
export const rpcError = (reason: Reason, message: string, options?: RpcErrorOptions): RpcError =>
  new RpcError(codeOf(reason), reason, message, options)

/** INVALID_ARGUMENT that names each wrong field and what to write instead. */
export const invalidRequest = (fields: readonly FieldViolation[]): RpcError =>
  rpcError('INVALID_REQUEST', fields.map(({ field, description }) => `${field}: ${description}`).join('; '), {
    fields,
  })
