import { currentCall } from './context.ts'
import { compose, type Layer, type Next } from './layer.ts'
import type { Metadata } from './metadata.ts'
import {
  type Method,
  type MethodDefinition,
  methodsOf,
  type RequestInput,
  type ResponseOutput,
  type ServiceDefinition,
} from './method.ts'
import { fromTransportError } from './status.ts'
import { type Connection, TransportError } from './transport.ts'

export interface CallOptions {
  /** Time for the whole call; the caller's own deadline shortens it. Default 5,000 ms unary, none for streams. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  readonly metadata?: Metadata
}

type ClientMethod<M extends MethodDefinition> = M['requestStream'] extends true
  ? M['responseStream'] extends true
    ? (requests: AsyncIterable<RequestInput<M>>, options?: CallOptions) => AsyncIterable<ResponseOutput<M>>
    : (requests: AsyncIterable<RequestInput<M>>, options?: CallOptions) => Promise<ResponseOutput<M>>
  : M['responseStream'] extends true
    ? (request: RequestInput<M>, options?: CallOptions) => AsyncIterable<ResponseOutput<M>>
    : (request: RequestInput<M>, options?: CallOptions) => Promise<ResponseOutput<M>>

/** A typed client: unary methods return a Promise, streams an AsyncIterable; both reject with RpcError. */
export type Client<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]: ClientMethod<D['methods'][K]>
}

const DEFAULT_UNARY_TIMEOUT_MS = 5_000

/** Builds a typed client whose calls go through `layers` (outermost first) and end in `send`. */
export function createClient<D extends ServiceDefinition>(
  definition: D,
  send: Next,
  layers: readonly Layer[] = [],
): Client<D> {
  const call = compose(layers, send)
  return Object.fromEntries(
    Object.entries(methodsOf(definition)).map(([key, method]) => [key, clientMethod(method, call)]),
  ) as Client<D>
}

function clientMethod(method: Method, next: Next) {
  const start = (request: unknown, options: CallOptions = {}): Promise<unknown> => {
    const parent = currentCall()
    const ownTimeoutMs =
      options.timeoutMs ??
      (method.requestStream || method.responseStream ? Infinity : DEFAULT_UNARY_TIMEOUT_MS)
    return next({
      method,
      request,
      metadata: { ...identityOf(parent), ...options.metadata },
      deadline: Math.min(Date.now() + ownTimeoutMs, parent?.deadline ?? Infinity),
      signal: eitherSignal(options.signal, parent?.signal),
    })
  }
  if (!method.responseStream) return start
  return async function* (request: unknown, options?: CallOptions) {
    yield* (await start(request, options)) as AsyncIterable<unknown>
  }
}

const eitherSignal = (
  own: AbortSignal | undefined,
  parent: AbortSignal | undefined,
): AbortSignal | undefined => (own && parent ? AbortSignal.any([own, parent]) : (own ?? parent))

function identityOf(parent: ReturnType<typeof currentCall>): Metadata {
  if (!parent) return {}
  const metadata: Metadata = { 'x-request-id': parent.requestId }
  if (parent.userId) metadata['docmesh-user-id'] = parent.userId
  if (parent.tenantId) metadata['docmesh-tenant-id'] = parent.tenantId
  return metadata
}

/** The innermost `Next` of a client: encodes, sends over one connection, decodes, and turns failures into RpcError. */
export function sendOver(connection: Connection): Next {
  return async ({ method, metadata, deadline, signal, request }) => {
    const outgoing = { method, metadata, deadline, signal }
    if (!method.requestStream && !method.responseStream) {
      try {
        return method.response.decode(await connection.unary(outgoing, method.request.encode(request)))
      } catch (error) {
        throw translate(error, method)
      }
    }
    const requests = method.requestStream
      ? encodeAll(method, request as AsyncIterable<unknown>)
      : one(method.request.encode(request))
    const responses = decodeAll(method, connection.stream(outgoing, requests))
    return method.responseStream ? responses : only(method, responses)
  }
}

const translate = (error: unknown, method: Method): unknown =>
  error instanceof TransportError ? fromTransportError(error, method.path) : error

async function* one(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}

async function* encodeAll(method: Method, requests: AsyncIterable<unknown>): AsyncIterable<Uint8Array> {
  for await (const request of requests) yield method.request.encode(request)
}

async function* decodeAll(method: Method, responses: AsyncIterable<Uint8Array>): AsyncIterable<unknown> {
  try {
    for await (const bytes of responses) yield method.response.decode(bytes)
  } catch (error) {
    throw translate(error, method)
  }
}

async function only(method: Method, responses: AsyncIterable<unknown>): Promise<unknown> {
  let answer: unknown
  for await (const response of responses) answer = response
  if (answer === undefined)
    throw translate(new TransportError(13, 'The server ended the call without an answer.'), method)
  return answer
}
