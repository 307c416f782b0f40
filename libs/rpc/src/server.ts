import { randomUUID } from 'node:crypto'
import { type CallContext, runInCall } from './context.ts'
import { rpcError } from './errors.ts'
import { type Call, compose, type Layer, type Next } from './layer.ts'
import { type Metadata, textOf } from './metadata.ts'
import {
  type Encoded,
  encoded,
  type Method,
  type MethodDefinition,
  methodsOf,
  type RequestOutput,
  type ResponseInput,
  type ResponseOutput,
  type ServiceDefinition,
} from './method.ts'
import { toTransportError } from './status.ts'
import type { IncomingCall, Route } from './transport.ts'

/** What a handler may answer: every field optional as in proto3, or the message as it goes on the wire. */
type Answer<M extends MethodDefinition> = ResponseInput<M> | Encoded<ResponseOutput<M>>

type ServerMethod<M extends MethodDefinition> = M['requestStream'] extends true
  ? M['responseStream'] extends true
    ? (requests: AsyncIterable<RequestOutput<M>>, call: CallContext) => AsyncIterable<Answer<M>>
    : (requests: AsyncIterable<RequestOutput<M>>, call: CallContext) => Promise<Answer<M>>
  : M['responseStream'] extends true
    ? (request: RequestOutput<M>, call: CallContext) => AsyncIterable<Answer<M>>
    : (request: RequestOutput<M>, call: CallContext) => Promise<Answer<M>>

/**
 * What a service implements: a plain typed object, unary methods return a Promise, streams an AsyncIterable. A method
 * that is left out answers UNIMPLEMENTED.
 */
export type Handlers<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]?: ServerMethod<D['methods'][K]>
}

/** A definition with its handlers, the types tied together by {@link implement}. */
export interface Implementation {
  readonly definition: ServiceDefinition
  readonly handlers: Readonly<Record<string, unknown>>
}

export const implement = <D extends ServiceDefinition>(
  definition: D,
  handlers: Handlers<D>,
): Implementation => ({
  definition,
  handlers: handlers as Readonly<Record<string, unknown>>,
})

/** Methods of the contract that an implementation leaves out, as `package.Service/Method`. */
export const unimplementedMethods = ({ definition, handlers }: Implementation): string[] =>
  Object.entries(definition.methods)
    .filter(([key]) => !handlers[key])
    .map(([, method]) => `${definition.fullName}/${method.name}`)

/** One route per method, each call going through `layers` (outermost first) to its handler. */
export function routesOf({ definition, handlers }: Implementation, layers: readonly Layer[]): Route[] {
  return Object.entries(methodsOf(definition)).map(([key, method]) => {
    const handler = handlers[key] as ((request: unknown, context: CallContext) => unknown) | undefined
    const next = compose(layers, handler ? callHandler(method, handler) : unimplemented(method))
    return {
      method,
      unary: (incoming, bytes) => answerUnary(method, next, incoming, bytes),
      stream: (incoming, requests) => answerStream(method, next, incoming, requests),
    }
  })
}

/**
 * A call on the server, which is the context of its handler too: layers pass on the very call that they were given. Its
 * signal costs something and is made when somebody asks: most unary handlers never do. A class, because each literal with
 * a getter gets a hidden class of its own, which keeps the whole call in memory until the next full collection.
 */
class ServerCall implements Call, CallContext {
  readonly method: Method
  readonly metadata: Metadata
  readonly deadline: number
  readonly request: unknown
  readonly #incoming: IncomingCall
  #requestId: string | undefined

  constructor(method: Method, incoming: IncomingCall, request: unknown) {
    const { metadata, deadline } = incoming
    this.method = method
    this.metadata = metadata
    this.deadline = deadline
    this.request = request
    this.#incoming = incoming
  }

  get requestId(): string {
    this.#requestId ??= textOf(this.metadata, 'x-request-id') || randomUUID()
    return this.#requestId
  }

  get userId(): string {
    return textOf(this.metadata, 'docmesh-user-id')
  }

  get tenantId(): string {
    return textOf(this.metadata, 'docmesh-tenant-id')
  }

  get signal(): AbortSignal {
    return this.#incoming.signal
  }
}

/** Encodes what the handler answers, so that the layers hear of an answer that cannot be encoded. */
function callHandler(method: Method, handler: (request: unknown, context: CallContext) => unknown): Next {
  return async (call) => {
    const answer = handler(call.request, call as ServerCall)
    return method.responseStream
      ? encodeAll(method, answer as AsyncIterable<unknown>)
      : encoded(method.response.encode(await answer))
  }
}

async function* encodeAll(method: Method, answers: AsyncIterable<unknown>): AsyncIterable<Encoded> {
  for await (const answer of answers) yield encoded(method.response.encode(answer))
}

const unimplemented =
  (method: Method): Next =>
  async () => {
    throw rpcError(
      'METHOD_UNIMPLEMENTED',
      `${method.service}/${method.name} is part of the contract but not yet of this version.`,
    )
  }

async function answerUnary(
  method: Method,
  next: Next,
  incoming: IncomingCall,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  try {
    const call = new ServerCall(method, incoming, decode(method, bytes))
    return method.response.encode(await runInCall(call, next, call))
  } catch (error) {
    throw toTransportError(error)
  }
}

async function* answerStream(
  method: Method,
  next: Next,
  incoming: IncomingCall,
  requests: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  try {
    const decoded = decodeAll(method, requests)
    const request = method.requestStream ? decoded : await first(method, decoded)
    const call = new ServerCall(method, incoming, request)
    const answer = await runInCall(call, next, call)
    if (!method.responseStream) {
      yield method.response.encode(answer)
      return
    }
    const iterator = (answer as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const { done, value } = await runInCall(call, () => iterator.next())
        if (done) return
        yield method.response.encode(value)
      }
    } finally {
      await iterator.return?.()
    }
  } catch (error) {
    throw toTransportError(error)
  }
}

function decode(method: Method, bytes: Uint8Array): unknown {
  try {
    return method.request.decode(bytes)
  } catch (cause) {
    throw rpcError('MALFORMED_MESSAGE', `The request of ${method.name} cannot be decoded.`, { cause })
  }
}

async function* decodeAll(method: Method, requests: AsyncIterable<Uint8Array>): AsyncIterable<unknown> {
  for await (const bytes of requests) yield decode(method, bytes)
}

async function first(method: Method, requests: AsyncIterable<unknown>): Promise<unknown> {
  for await (const request of requests) return request
  throw rpcError('MALFORMED_MESSAGE', `${method.name} takes one request message; none came.`)
}
