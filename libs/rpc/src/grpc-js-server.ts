// grpc-js as a server transport.
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import * as grpc from '@grpc/grpc-js'
import { rpcError } from './errors.ts'
import { deserialize, fromGrpcMetadata, serialize, toGrpcMetadata } from './grpc-js-metadata.ts'
import type { Metadata } from './metadata.ts'
import { isMetadataTooLarge, metadataTooLarge } from './metadata-limit.ts'
import { toTransportError } from './status.ts'
import type { IncomingCall, Route, ServerTransport, TransportError } from './transport.ts'

const SERVER_OPTIONS: grpc.ServerOptions = {
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  'grpc.max_send_message_length': -1,
  // A connection that carries no call ends; grpc-js clients connect again when they have one.
  'grpc.max_connection_idle_ms': 300_000,
  'grpc.max_concurrent_streams': 4_096,
  'grpc.enable_channelz': 0, // nobody serves what it would count
}

/** A peer that has not begun to speak HTTP/2 by then is no client. */
const PREFACE_TIMEOUT_MS = 10_000
/** `PRI * HTTP/2.0`, two line ends, `SM`, two line ends (RFC 9113, 3.4). */
const PREFACE_BYTES = 24
/** Connections set up at one turn of the event loop: one takes 0.1 to 0.2 ms, and calls wait meanwhile. */
const LET_IN_PER_TURN = 16

export interface GrpcJsServerOptions {
  /** Default 10,000. */
  readonly prefaceTimeoutMs?: number
}

export const grpcJsServer: ServerTransport = createGrpcJsServer()

/**
 * The sockets are accepted here and given to grpc-js when their first bytes are there: one that only connects costs a
 * socket and no HTTP/2 session (2 KB instead of 20), and is closed after `prefaceTimeoutMs`.
 */
export function createGrpcJsServer({
  prefaceTimeoutMs = PREFACE_TIMEOUT_MS,
}: GrpcJsServerOptions = {}): ServerTransport {
  return {
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
      const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
      const door = openDoor((socket) => injector.injectConnection(socket), prefaceTimeoutMs)
      const port = await bind(door.server, address)
      return {
        address: `${address.slice(0, address.lastIndexOf(':'))}:${port}`,
        close: (graceMs) => close(server, injector, door, streams, graceMs),
      }
    },
  }
}

interface Door {
  readonly server: Server
  /** `onEmpty` is called when the last socket that was let in is gone. */
  close(onEmpty: () => void): void
}

/** Lets sockets in that have said as much as an HTTP/2 client says first, a few at a time when many come at once. */
function openDoor(letIn: (socket: Socket) => void, timeoutMs: number): Door {
  const waiting = new Set<Socket>()
  const ready: (() => void)[] = []
  const letSomeIn = (): void => {
    const entering = ready.splice(0, LET_IN_PER_TURN)
    if (ready.length > 0) setImmediate(letSomeIn)
    for (const enter of entering) enter()
  }
  const server = createServer({ noDelay: true }, (socket) => {
    const leave = (): void => {
      waiting.delete(socket)
      clearTimeout(timer)
    }
    const look = (): void => {
      if (socket.readableLength < PREFACE_BYTES) return
      socket.off('readable', look)
      if (ready.push(enter) === 1) setImmediate(letSomeIn)
    }
    const enter = (): void => {
      if (socket.destroyed) return
      leave()
      socket.off('close', leave).off('error', ignore)
      letIn(socket)
    }
    const timer = setTimeout(() => socket.destroy(), timeoutMs).unref()
    waiting.add(socket)
    socket.on('readable', look).on('close', leave).on('error', ignore)
  })
  return {
    server,
    close(onEmpty) {
      server.close(onEmpty)
      for (const socket of waiting) socket.destroy()
    },
  }
}

/** The socket closes by itself after an error. */
const ignore = (): void => {}

function bind(server: Server, address: string): Promise<number> {
  const colon = address.lastIndexOf(':')
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new Error(`Cannot listen on ${address}: ${error.message}`, { cause: error })),
    )
    server.listen(Number(address.slice(colon + 1)), address.slice(0, colon).replace(/[[\]]/g, ''), () =>
      resolve((server.address() as AddressInfo).port),
    )
  })
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
    const incoming = new IncomingGrpcCall(call)
    if (isMetadataTooLarge(incoming.metadata)) return callback(statusOf(toTransportError(metadataTooLarge())))
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
  const incoming = new IncomingGrpcCall(call)
  if (isMetadataTooLarge(incoming.metadata)) {
    call.emit('error', statusOf(toTransportError(metadataTooLarge())))
    return
  }
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

type GrpcCall = grpc.ServerUnaryCall<Uint8Array, Uint8Array> | grpc.ServerDuplexStream<Uint8Array, Uint8Array>

/** The signal is made when somebody asks for it: most unary handlers never do. */
class IncomingGrpcCall implements IncomingCall {
  readonly metadata: Metadata
  readonly deadline: number
  readonly #call: GrpcCall
  #controller: AbortController | undefined

  constructor(call: GrpcCall) {
    const deadline = call.getDeadline()
    this.metadata = fromGrpcMetadata(call.metadata)
    this.deadline = typeof deadline === 'number' ? deadline : deadline.getTime()
    this.#call = call
  }

  get peer(): string {
    return this.#call.getPeer()
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      const controller = new AbortController()
      const abort = (): void => controller.abort(new DOMException('The caller is gone.', 'AbortError'))
      if (this.#call.cancelled) abort()
      else this.#call.on('cancelled', abort)
      this.#controller = controller
    }
    return this.#controller.signal
  }
}

/** While the server closes, a stream that has had nothing to send for this long waits for news that will not come. */
const QUIET_MS = 250
const SWEEP_MS = 50

function close(
  server: grpc.Server,
  injector: grpc.ConnectionInjector,
  door: Door,
  streams: ReadonlySet<OpenStream>,
  graceMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const endQuiet = (): void => {
      const latest = performance.now() - QUIET_MS
      for (const stream of [...streams]) if (stream.quietSince <= latest) stream.end()
    }
    const sweep = setInterval(endQuiet, SWEEP_MS)
    // `forceShutdown` knows the connections only while channelz is on.
    const force = setTimeout(() => injector.drain(0), graceMs)
    door.close(() => {
      clearInterval(sweep)
      clearTimeout(force)
      resolve()
    })
    server.tryShutdown(() => {}) // GOAWAY; it does not wait for connections that were given to it
    endQuiet()
  })
}
