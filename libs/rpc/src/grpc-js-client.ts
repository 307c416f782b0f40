// grpc-js as a client transport. Everything that depends on its options and messages stays in this file.
import * as grpc from '@grpc/grpc-js'
import { deserialize, fromGrpcMetadata, serialize, toGrpcMetadata } from './grpc-js-metadata.ts'
import { type ClientTransport, type Connection, type OutgoingCall, TransportError } from './transport.ts'

const CHANNEL_OPTIONS: grpc.ChannelOptions = {
  'grpc.enable_retries': 0, // one layer retries: ours
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': 16 * 1024 * 1024,
}

export const grpcJsClient: ClientTransport = {
  connect(address): Connection {
    const client = new grpc.Client(address, grpc.credentials.createInsecure(), CHANNEL_OPTIONS)
    return {
      address,
      unary: (call, request) => unary(client, call, request),
      stream: (call, requests) => stream(client, call, requests),
      close: () => client.close(),
    }
  },
}

const optionsOf = ({ deadline }: OutgoingCall): grpc.CallOptions =>
  deadline === Infinity ? {} : { deadline }

function unary(client: grpc.Client, outgoing: OutgoingCall, request: Uint8Array): Promise<Uint8Array> {
  const { method, metadata, signal } = outgoing
  return new Promise((resolve, reject) => {
    if (signal?.aborted)
      return reject(
        new TransportError(
          grpc.status.CANCELLED,
          'The call was cancelled before it was sent.',
          {},
          { notSent: true },
        ),
      )
    const cancel = (): void => call.cancel()
    const call = client.makeUnaryRequest(
      method.path,
      serialize,
      deserialize,
      request,
      toGrpcMetadata(metadata),
      optionsOf(outgoing),
      (error, response) => {
        signal?.removeEventListener('abort', cancel)
        if (error) reject(toTransportError(error))
        else resolve(response as Uint8Array)
      },
    )
    signal?.addEventListener('abort', cancel, { once: true })
  })
}

async function* stream(
  client: grpc.Client,
  outgoing: OutgoingCall,
  requests: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const { method, metadata, signal } = outgoing
  if (signal?.aborted)
    throw new TransportError(
      grpc.status.CANCELLED,
      'The call was cancelled before it was sent.',
      {},
      { notSent: true },
    )
  const call = client.makeBidiStreamRequest(
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

/** grpc-js says in words whether a connection could be made at all. */
const NOT_SENT = /^No connection established|^Name resolution failed|^Channel has been shut down/
const CONNECTION_LOST =
  /^(Connection dropped|read ECONNRESET|Received RST_STREAM|Stream refused|Socket closed|.*ECONNREFUSED|.*GOAWAY)/

function toTransportError(error: grpc.ServiceError): TransportError {
  const { code, details = error.message, metadata } = error
  if (typeof code !== 'number')
    return new TransportError(grpc.status.INTERNAL, error.message, {}, { connectionFailed: true })
  const notSent = code === grpc.status.UNAVAILABLE && NOT_SENT.test(details)
  const connectionFailed = notSent || CONNECTION_LOST.test(details)
  // A socket that breaks while it is written to ends calls with INTERNAL: no server said so.
  const said = connectionFailed && code === grpc.status.INTERNAL ? grpc.status.UNAVAILABLE : code
  return new TransportError(said, details, metadata ? fromGrpcMetadata(metadata) : {}, {
    connectionFailed,
    notSent,
  })
}
