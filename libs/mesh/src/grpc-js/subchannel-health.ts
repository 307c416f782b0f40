import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { createBackoff } from '@docmesh/resilience'
import * as grpc from '@grpc/grpc-js'
import type { Listener } from './subchannel-call.ts'

export type Channel = NonNullable<grpc.ClientOptions['channelOverride']>

const delayMs = createBackoff({ initialMs: 1_000, multiplier: 1.6, maxMs: 60_000, jitter: 0.2 }, Math.random)

type Start = (metadata: grpc.Metadata, listener: Listener) => Promise<void>

/**
 * A call of grpc-js on one subchannel begins in a promise that nobody looks at (1.14.7, `single-subchannel-channel.ts`): when
 * the connection breaks while it gets its credentials, the rejection would end the process.
 */
function withFailingStart(channel: Channel): Channel {
  const createCall: Channel['createCall'] = (...args) => {
    const call = channel.createCall(...args)
    const begin = call.start.bind(call) as unknown as Start
    call.start = (metadata, listener) => {
      begin(metadata, listener).catch((error: Error) =>
        listener.onReceiveStatus({
          code: grpc.status.UNAVAILABLE,
          details: error.message,
          metadata: new grpc.Metadata(),
        }),
      )
    }
    return call
  }
  return Object.assign(Object.create(channel), { createCall })
}

/**
 * Client-side health checking (gRFC A17) over a channel that is connected, until the answer is called: `createClientHealth`
 * for a subchannel of grpc-js. A server without the method is healthy; a watch that breaks says nothing, so healthy too.
 */
export function watchHealth(channel: Channel, onHealth: (healthy: boolean) => void): () => void {
  const client = new grpc.Client('unused', grpc.credentials.createInsecure(), {
    channelOverride: withFailingStart(channel),
  })
  let call: grpc.ClientReadableStream<HealthCheckResponse> | undefined
  let timer: NodeJS.Timeout | undefined
  let failures = 0
  let isStopped = false

  function watch(): void {
    const current = client.makeServerStreamRequest(
      '/grpc.health.v1.Health/Watch',
      (request: HealthCheckRequest) => Buffer.from(HealthCheckRequest.encode(request).finish()),
      (bytes) => HealthCheckResponse.decode(bytes),
      HealthCheckRequest.fromPartial({}),
    )
    call = current
    current.on('data', ({ status }: HealthCheckResponse) => {
      failures = 0
      if (isStopped)
        current.cancel() // grpc-js loses a cancellation that comes before the call is on its way
      else onHealth(status === Serving.SERVING)
    })
    current.on('error', () => {}) // `status` tells it too
    current.on('status', ({ code }: grpc.StatusObject) => {
      if (isStopped) return
      onHealth(true)
      if (code !== grpc.status.UNIMPLEMENTED) timer = setTimeout(watch, delayMs(++failures)).unref()
    })
  }

  watch()
  return () => {
    isStopped = true
    clearTimeout(timer)
    call?.cancel()
  }
}
