import { randomUUID } from 'node:crypto'
import { type CallContext, runInCall } from './context.ts'
import { rpcError } from './errors.ts'
import { type Call, compose, type Layer, type Next } from './layer.ts'
import { textOf } from './metadata.ts'
import {
  type Method,
  type MethodDefinition,
  methodsOf,
  type RequestOutput,
  type ResponseInput,
  type ServiceDefinition,
} from './method.ts'
import { toTransportError } from './status.ts'
import type { IncomingCall, Route } from './transport.ts'

type ServerMethod<M extends MethodDefinition> = M['requestStream'] extends true
  ? M['responseStream'] extends true
    ? (requests: AsyncIterable<RequestOutput<M>>, call: CallContext) => AsyncIterable<ResponseInput<M>>
    : (requests: AsyncIterable<RequestOutput<M>>, call: CallContext) => Promise<ResponseInput<M>>
  : M['responseStream'] extends true
    ? (request: RequestOutput<M>, call: CallContext) => AsyncIterable<ResponseInput<M>>
    : (request: RequestOutput<M>, call: CallContext) => Promise<ResponseInput<M>>

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

/** A call on the server: layers pass on the very call that they were given. */
interface ServerCall extends Call {
  readonly context: CallContext
}

function callHandler(method: Method, handler: (request: unknown, context: CallContext) => unknown): Next {
  return async (call) => {
    const answer = handler(call.request, (call as ServerCall).context)
    return method.responseStream ? answer : await (answer as Promise<unknown>)
  }
}

const unimplemented =
  (method: Method): Next =>
  async () => {
    throw rpcError(
      'METHOD_UNIMPLEMENTED',
      `${method.service}/${method.name} is part of the contract but not yet of this version.`,
    )
  }

/** What costs something to make is made when somebody asks: most unary handlers never do. */
function open(incoming: IncomingCall, method: Method, request: unknown): ServerCall {
  const { metadata, deadline } = incoming
  let requestId = textOf(metadata, 'x-request-id')
  const context: CallContext = {
    get requestId() {
      requestId ||= randomUUID()
      return requestId
    },
    userId: textOf(metadata, 'docmesh-user-id'),
    tenantId: textOf(metadata, 'docmesh-tenant-id'),
    deadline,
    get signal() {
      return incoming.signal
    },
  }
  return {
    method,
    metadata,
    deadline,
    request,
    context,
    get signal() {
      return incoming.signal
    },
  }
}

async function answerUnary(
  method: Method,
  next: Next,
  incoming: IncomingCall,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  try {
    const call = open(incoming, method, decode(method, bytes))
    return method.response.encode(await runInCall(call.context, () => next(call)))
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
    const call = open(incoming, method, method.requestStream ? decoded : await first(method, decoded))
    const answer = await runInCall(call.context, () => next(call))
    if (!method.responseStream) {
      yield method.response.encode(answer)
      return
    }
    const iterator = (answer as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const { done, value } = await runInCall(call.context, () => iterator.next())
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
