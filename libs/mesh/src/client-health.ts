import {
  HealthDefinition,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { createBackoff } from '@docmesh/resilience'
import { Code, type Connection, createClient, RpcError, runDetached, sendOver } from '@docmesh/rpc'
import { abortable } from './abortable.ts'
import type { Endpoint } from './endpoint.ts'

/** What the instances in use say of themselves, heard from each of them. */
export interface ClientHealth {
  /** Replaces the endpoints that are listened to. */
  update(endpoints: readonly Pick<Endpoint, 'instanceId' | 'address'>[]): void
  close(): void
}

export interface ClientHealthDeps {
  readonly connectionTo: (address: string) => Connection
  /** Called when it changes; an endpoint counts as healthy until it says otherwise. */
  readonly onHealth: (instanceId: string, healthy: boolean) => void
  /** Uniform in [0, 1). Default Math.random. */
  readonly random?: () => number
}

interface Listening {
  readonly address: string
  readonly end: AbortController
  /** What has been told of it. */
  healthy: boolean
}

/**
 * Client-side health checking (gRFC A17): a `grpc.health.v1.Health/Watch` per endpoint for the server as a whole, over
 * the connection that calls use. A server without the method is healthy for good. When the stream breaks, or
 * nobody listens any more, there is no opinion, which counts as healthy: broken connections are the ejection's business.
 */
export function createClientHealth({
  connectionTo,
  onHealth,
  random = Math.random,
}: ClientHealthDeps): ClientHealth {
  const delayMs = createBackoff({ initialMs: 1_000, multiplier: 1.6, maxMs: 60_000, jitter: 0.2 }, random)
  const listening = new Map<string, Listening>()

  async function listen(instanceId: string, told: Listening): Promise<void> {
    const { address } = told
    const { signal } = told.end
    let failures = 0
    function tell(value: boolean): void {
      if (signal.aborted || value === told.healthy) return
      told.healthy = value
      onHealth(instanceId, value)
    }
    while (!signal.aborted) {
      try {
        const { watch } = createClient(HealthDefinition, sendOver(connectionTo(address)))
        for await (const { status } of watch({ service: '' }, { signal })) {
          failures = 0
          tell(status === Serving.SERVING)
        }
      } catch (error) {
        if (error instanceof RpcError && error.code === Code.UNIMPLEMENTED) return tell(true)
      }
      tell(true)
      await abortable(delayMs(++failures), signal)
    }
  }

  function stop(instanceId: string, { end, healthy }: Listening): void {
    end.abort()
    listening.delete(instanceId)
    if (!healthy) onHealth(instanceId, true) // nobody would hear that it is well again
  }

  return {
    update(endpoints) {
      const wanted = new Map(endpoints.map(({ instanceId, address }) => [instanceId, address]))
      for (const [instanceId, told] of listening)
        if (wanted.get(instanceId) !== told.address) stop(instanceId, told)
      for (const [instanceId, address] of wanted) {
        if (listening.has(instanceId)) continue
        const told: Listening = { address, end: new AbortController(), healthy: true }
        listening.set(instanceId, told)
        void runDetached(() => listen(instanceId, told))
      }
    },
    close() {
      for (const { end } of listening.values()) end.abort()
      listening.clear()
    },
  }
}
