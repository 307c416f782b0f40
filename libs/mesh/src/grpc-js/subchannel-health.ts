import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { createBackoff } from '@docmesh/resilience'
import * as grpc from '@grpc/grpc-js'

export type Channel = NonNullable<grpc.ClientOptions['channelOverride']>

const delayMs = createBackoff({ initialMs: 1_000, multiplier: 1.6, maxMs: 60_000, jitter: 0.2 }, Math.random)

/**
 * Client-side health checking (gRFC A17) over a channel that is connected, until the answer is called: `createClientHealth`
 * for a subchannel of grpc-js. A server without the method is healthy; a watch that breaks says nothing, so healthy too.
 */
export function watchHealth(channel: Channel, onHealth: (healthy: boolean) => void): () => void {
  const client = new grpc.Client('unused', grpc.credentials.createInsecure(), { channelOverride: channel })
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
