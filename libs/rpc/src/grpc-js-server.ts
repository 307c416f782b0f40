// grpc-js as a server transport.
import * as grpc from '@grpc/grpc-js'
import { deserialize, fromGrpcMetadata, serialize, toGrpcMetadata } from './grpc-js-metadata.ts'
import type { Metadata } from './metadata.ts'
import type { IncomingCall, Route, ServerTransport, TransportError } from './transport.ts'

const SERVER_OPTIONS: grpc.ServerOptions = {
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  'grpc.max_send_message_length': -1,
}

export const grpcJsServer: ServerTransport = {
  async listen(address, routes) {
    const server = new grpc.Server(SERVER_OPTIONS)
    for (const [service, group] of Map.groupBy(routes, (route) => route.method.service)) {
      void service
      server.addService(
        Object.fromEntries(group.map(({ method }) => [method.name, methodDefinition(method)])),
        Object.fromEntries(
          group.map((route) => [route.method.name, isUnary(route) ? unary(route) : stream(route)]),
        ) as grpc.UntypedServiceImplementation,
      )
    }
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) => {
        if (error) reject(new Error(`Cannot listen on ${address}: ${error.message}`, { cause: error }))
        else resolve(bound)
      })
    })
    return {
      address: `${address.slice(0, address.lastIndexOf(':'))}:${port}`,
      close: (graceMs) => close(server, graceMs),
    }
  },
}

const isUnary = ({ method }: Route): boolean => !method.requestStream && !method.responseStream

/** Every streaming kind is served as the most general one: on the wire they are the same. */
const methodDefinition = (method: Route['method']): grpc.MethodDefinition<Uint8Array, Uint8Array> => ({
  path: method.path,
  requestStream: method.requestStream || method.responseStream,
  responseStream: method.requestStream || method.responseStream,
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize,
})

function unary(route: Route): grpc.handleUnaryCall<Uint8Array, Uint8Array> {
  return (call, callback) => {
    const incoming = incomingCall(call)
    route.unary(incoming, call.request).then(
      (response) => callback(null, response),
      (error: TransportError) => callback(statusOf(error)),
    )
  }
}

function stream(route: Route): grpc.handleBidiStreamingCall<Uint8Array, Uint8Array> {
  return (call) => {
    const incoming = incomingCall(call)
    void respond(call, route, incoming)
  }
}

async function respond(
  call: grpc.ServerDuplexStream<Uint8Array, Uint8Array>,
  route: Route,
  incoming: IncomingCall,
): Promise<void> {
  const gone = new Promise<void>((resolve) =>
    incoming.signal.addEventListener('abort', () => resolve(), { once: true }),
  )
  // Reading one message of a unary request must not destroy the duplex that the answer is written to.
  const requests: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => call.iterator({ destroyOnReturn: false }),
  }
  try {
    for await (const message of route.stream(incoming, requests)) {
      if (incoming.signal.aborted) break
      if (!call.write(message)) {
        await Promise.race([new Promise<void>((resolve) => call.once('drain', () => resolve())), gone])
      }
    }
    call.end()
  } catch (error) {
    call.emit('error', statusOf(error as TransportError))
  }
}

const statusOf = ({ code, message, metadata }: TransportError): grpc.StatusObject => ({
  code,
  details: message,
  metadata: toGrpcMetadata(metadata),
})

/** The signal is made when somebody asks for it: most unary handlers never do. */
function incomingCall(
  call: grpc.ServerUnaryCall<Uint8Array, Uint8Array> | grpc.ServerDuplexStream<Uint8Array, Uint8Array>,
): IncomingCall {
  const deadline = call.getDeadline()
  let controller: AbortController | undefined
  let metadata: Metadata | undefined
  return {
    get metadata() {
      metadata ??= fromGrpcMetadata(call.metadata)
      return metadata
    },
    peer: call.getPeer(),
    deadline: typeof deadline === 'number' ? deadline : deadline.getTime(),
    get signal() {
      if (!controller) {
        controller = new AbortController()
        const abort = (): void => controller?.abort(new DOMException('The caller is gone.', 'AbortError'))
        if (call.cancelled) abort()
        else call.on('cancelled', abort)
      }
      return controller.signal
    },
  }
}

function close(server: grpc.Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.forceShutdown(), graceMs)
    server.tryShutdown(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
