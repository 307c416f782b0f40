// grpc-js as a server transport.
import { setImmediate as nextTurn } from 'node:timers/promises'
import * as grpc from '@grpc/grpc-js'
import { rpcError } from './errors.ts'
import { deserialize, fromGrpcMetadata, serialize, toGrpcMetadata } from './grpc-js-metadata.ts'
import type { Metadata } from './metadata.ts'
import { toTransportError } from './status.ts'
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
    const streams = new Set<OpenStream>()
    for (const group of Map.groupBy(routes, (route) => route.method.service).values()) {
      server.addService(
        Object.fromEntries(group.map(({ method }) => [method.name, methodDefinition(method)])),
        Object.fromEntries(
          group.map((route) => [route.method.name, isUnary(route) ? unary(route) : stream(route, streams)]),
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
      close: (graceMs) => close(server, streams, graceMs),
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

function stream(
  route: Route,
  streams: Set<OpenStream>,
): grpc.handleBidiStreamingCall<Uint8Array, Uint8Array> {
  return (call) => void respond(call, route, streams)
}

/** A call whose answer is a stream. */
interface OpenStream {
  /** Monotonic milliseconds since when it has nothing to send; Infinity while a message is on its way. */
  quietSince: number
  /** Ends it with SHUTTING_DOWN, whatever its handler does. */
  end(): void
}

const shuttingDown = () => rpcError('SHUTTING_DOWN', 'This instance is ending.')

async function respond(
  call: grpc.ServerDuplexStream<Uint8Array, Uint8Array>,
  route: Route,
  streams: Set<OpenStream>,
): Promise<void> {
  const incoming = incomingCall(call)
  const { signal } = incoming
  let ended = false
  const open: OpenStream = {
    quietSince: performance.now(),
    end() {
      ended = true
      streams.delete(open)
      call.emit('error', statusOf(toTransportError(shuttingDown())))
    },
  }
  if (route.method.responseStream) streams.add(open)
  async function* requests(): AsyncIterable<Uint8Array> {
    try {
      // Reading one message of a unary request must not destroy the duplex that the answer is written to.
      yield* call.iterator({ destroyOnReturn: false })
      // Requests of a connection that is lost end like those that are finished; that the caller is gone comes a turn
      // later. One that cancels may do so a packet after its end, so what must be complete still has to carry its size.
      await nextTurn()
      signal.throwIfAborted()
    } catch (error) {
      throw ended ? shuttingDown() : signal.aborted ? signal.reason : error
    }
  }
  try {
    for await (const message of route.stream(incoming, requests())) {
      if (ended || signal.aborted) break
      open.quietSince = Number.POSITIVE_INFINITY
      if (!call.write(message)) await drained(call, signal)
      open.quietSince = performance.now()
    }
    if (!ended) call.end()
  } catch (error) {
    if (!ended) call.emit('error', statusOf(error as TransportError))
  } finally {
    streams.delete(open)
  }
}

function drained(call: grpc.ServerDuplexStream<Uint8Array, Uint8Array>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const end = (): void => {
      call.off('drain', end)
      signal.removeEventListener('abort', end)
      resolve()
    }
    call.once('drain', end)
    signal.addEventListener('abort', end, { once: true })
  })
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

/** While the server closes, a stream that has had nothing to send for this long waits for news that will not come. */
const QUIET_MS = 250
const SWEEP_MS = 50

function close(server: grpc.Server, streams: ReadonlySet<OpenStream>, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const endQuiet = (): void => {
      const latest = performance.now() - QUIET_MS
      for (const stream of [...streams]) if (stream.quietSince <= latest) stream.end()
    }
    const sweep = setInterval(endQuiet, SWEEP_MS)
    const force = setTimeout(() => server.forceShutdown(), graceMs)
    server.tryShutdown(() => {
      clearInterval(sweep)
      clearTimeout(force)
      resolve()
    })
    endQuiet()
  })
}
