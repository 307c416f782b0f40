// grpc-js as a client transport. Everything that depends on its options and messages stays in this file.
import type { Socket } from 'node:net'
import { checkRange } from '@docmesh/resilience'
import * as grpc from '@grpc/grpc-js'
import { invalidRequest } from './errors.ts'
import { disarmKeepaliveAfterGoaway, timedCredentials } from './grpc-js-client-cures.ts'
import { deserialize, fromGrpcMetadata, serialize, toGrpcMetadata } from './grpc-js-metadata.ts'
import { isMetadataTooLarge, metadataTooLarge } from './metadata-limit.ts'
import { toTransportError as failureOf } from './status.ts'
import { type ClientTransport, type Connection, type OutgoingCall, TransportError } from './transport.ts'

const { CONNECTING, TRANSIENT_FAILURE } = grpc.connectivityState

export interface GrpcJsClientOptions {
  /**
   * Time for one attempt to connect; calls that wait for it fail then. Default 5,000, 300 to 60,000.
   */
  readonly connectTimeoutMs?: number
  /** Time without a sign of the peer, while there are calls, after which it is asked for one. Default 20,000. */
  readonly keepaliveMs?: number
  /** Time that the peer has to answer. Default 5,000. */
  readonly keepaliveTimeoutMs?: number
  /** A connection was given up because it was stuck connecting. */
  readonly onDiscard?: () => void
}

export function createGrpcJsClient({
  connectTimeoutMs = 5_000,
  keepaliveMs = 20_000,
  keepaliveTimeoutMs = 5_000,
  onDiscard = () => {},
}: GrpcJsClientOptions = {}): ClientTransport {
  checkRange({ connectTimeoutMs }, 300, 60_000)
  checkRange({ keepaliveMs, keepaliveTimeoutMs }, 10, 600_000)
  const channelOptions: grpc.ChannelOptions = {
    'grpc.enable_retries': 0, // one layer retries: ours
    'grpc.service_config_disable_resolution': 1,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_channelz': 0, // nobody serves what it would count
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.min_reconnect_backoff_ms': 100,
    // Shorter than an attempt may take, so that a pause between attempts is not taken for one that is stuck.
    'grpc.max_reconnect_backoff_ms': Math.min(2_000, connectTimeoutMs / 3),
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
  }
  return {
    connect(address): Connection {
      disarmKeepaliveAfterGoaway()
      let client: grpc.Client | undefined
      let isClosed = false

      /** A socket can be destroyed, and grpc-js tries again; without one only another channel helps. */
      function giveUp(stuck: grpc.Client, socket: Socket | undefined): void {
        const state = stuck.getChannel().getConnectivityState(false)
        if (state !== CONNECTING && state !== TRANSIENT_FAILURE) return
        onDiscard()
        if (socket) {
          socket.destroy(new Error(`${address} has not answered for ${connectTimeoutMs} ms`))
          return
        }
        if (client === stuck) client = undefined
        stuck.close()
      }

      function openClient(): grpc.Client {
        if (isClosed) throw closed()
        if (client) return client
        const credentials = timedCredentials(connectTimeoutMs, (socket) => giveUp(opened, socket))
        const opened = new grpc.Client(address, credentials, channelOptions)
        client = opened
        return opened
      }

      return {
        address,
        unary: (call, request) => (isClosed ? Promise.reject(closed()) : unary(openClient(), call, request)),
        stream: (call, requests) => stream(openClient, call, requests),
        close() {
          isClosed = true
          client?.close()
        },
      }
    },
  }
}

const closed = (): TransportError =>
  new TransportError(grpc.status.UNAVAILABLE, 'The connection is closed.', {}, { notSent: true })

/** With the defaults, for whoever does not count connections. */
export const grpcJsClient: ClientTransport = createGrpcJsClient()

/**
 * grpc-js takes a stack trace of every call, for the error that it may end with; ours is made from another one. Finding
 * out which functions await the call costs more than everything else that is done for it here.
 */
function withoutStack<T>(start: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return start()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

const optionsOf = ({ deadline }: OutgoingCall): grpc.CallOptions =>
  deadline === Infinity ? {} : { deadline }

/** What a header can hold; gRPC encodes only the values of keys that end in `-bin`. */
const PRINTABLE = /^[ -~]*$/

/** Why a call cannot even be sent. */
function refusalOf({ metadata, signal }: OutgoingCall): TransportError | undefined {
  if (signal?.aborted)
    return new TransportError(
      grpc.status.CANCELLED,
      'The call was cancelled before it was sent.',
      {},
      { notSent: true },
    )
  if (isMetadataTooLarge(metadata)) return failureOf(metadataTooLarge())
  for (const field in metadata) {
    const value = metadata[field]
    if (typeof value === 'string' && !PRINTABLE.test(value))
      return failureOf(invalidRequest([{ field, description: 'write printable ASCII characters' }]))
  }
  return undefined
}

function unary(client: grpc.Client, outgoing: OutgoingCall, request: Uint8Array): Promise<Uint8Array> {
  const { method, metadata, signal } = outgoing
  return new Promise((resolve, reject) => {
    const refusal = refusalOf(outgoing)
    if (refusal) return reject(refusal)
    const cancel = (): void => call.cancel()
    const grpcMetadata = toGrpcMetadata(metadata)
    const call = withoutStack(() =>
      client.makeUnaryRequest(
        method.path,
        serialize,
        deserialize,
        request,
        grpcMetadata,
        optionsOf(outgoing),
        (error, response) => {
          signal?.removeEventListener('abort', cancel)
          if (error) reject(toTransportError(error))
          else resolve(response as Uint8Array)
        },
      ),
    )
    signal?.addEventListener('abort', cancel, { once: true })
  })
}

async function* stream(
  openClient: () => grpc.Client,
  outgoing: OutgoingCall,
  requests: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const { method, metadata, signal } = outgoing
  const refusal = refusalOf(outgoing)
  if (refusal) throw refusal
  const call = openClient().makeBidiStreamRequest(
    method.path,
    serialize,
    deserialize,
    toGrpcMetadata(metadata),
    optionsOf(outgoing),
  )
  const cancel = (): void => call.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  let producerFailure: unknown
  const iterator = requests[Symbol.asyncIterator]()
  void pump(call, iterator).catch((error: unknown) => {
    producerFailure = error
    call.cancel()
  })
  try {
    for await (const message of call.iterator({ destroyOnReturn: false })) yield message as Buffer
  } catch (error) {
    throw producerFailure ?? toTransportError(error as grpc.ServiceError)
  } finally {
    signal?.removeEventListener('abort', cancel)
    call.on('error', () => {}) // cancelling an unread call emits one more error, which nobody is left to hear
    call.cancel()
    void iterator.return?.().catch(() => {})
  }
}

/**
 * Writes with back-pressure until the requests or the call end, whichever is first. No promise that lives as long as the
 * call may be raced here: it would keep every message until then.
 */
async function pump(
  call: grpc.ClientDuplexStream<Uint8Array, Buffer>,
  iterator: AsyncIterator<Uint8Array>,
): Promise<void> {
  let ended = false
  let resume = (): void => {}
  call.on('drain', () => resume())
  call.once('status', () => {
    ended = true
    resume()
  })
  for (;;) {
    const item = await iterator.next()
    if (ended) return
    if (item.done) {
      call.end()
      return
    }
    if (!call.write(item.value)) await new Promise<void>((resolve) => (resume = resolve))
    if (ended) return
  }
}

/** grpc-js says in words whether a request has reached a server at all; one that refuses a stream has not looked at it. */
const NOT_SENT =
  /^(No connection established|Name resolution failed|Channel (has been shut down|closed before call started)|Failed to start HTTP\/2 stream|Stream refused by server)/
const CONNECTION_LOST =
  /^(Connection dropped|read ECONNRESET|Received RST_STREAM|Stream refused|Socket closed|.*ECONNREFUSED|.*GOAWAY)/

export function toTransportError(error: grpc.ServiceError): TransportError {
  const { code, details = error.message, metadata } = error
  if (typeof code !== 'number')
    return new TransportError(grpc.status.INTERNAL, error.message, {}, { connectionFailed: true })
  const broken = code === grpc.status.UNAVAILABLE || code === grpc.status.INTERNAL
  const notSent = broken && NOT_SENT.test(details)
  const connectionFailed = notSent || CONNECTION_LOST.test(details)
  // A socket that breaks while it is written to ends calls with INTERNAL: no server said so.
  const said = connectionFailed && code === grpc.status.INTERNAL ? grpc.status.UNAVAILABLE : code
  return new TransportError(said, details, metadata ? fromGrpcMetadata(metadata) : {}, {
    connectionFailed,
    notSent,
  })
}
