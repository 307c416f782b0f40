import { type Call, type Connection, type Method, RpcError, sendOver } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import type { Endpoint } from './endpoint.ts'
import type { EndpointSet } from './endpoint-set.ts'
import { outcomeOf } from './outcome.ts'
import type { PickOptions } from './pick.ts'

export interface MirrorDeps {
  readonly service: string
  readonly endpoints: EndpointSet
  readonly connectionTo: (address: string) => Connection
  readonly metrics: Metrics
}

export interface Mirror {
  /** Sends a copy to an instance of the version, if there is one, and forgets it. */
  send(call: Call, version: string): void
  /** The same by other means: `sendTo` answers `undefined` if it cannot reach the instance, and rejects with RpcError. */
  copy(
    method: Method,
    options: PickOptions,
    sendTo: (endpoint: Endpoint) => Promise<unknown> | undefined,
  ): void
}

const MAX_IN_FLIGHT = 16
export const MIRROR_TIMEOUT_MS = 5_000
/** What a copy says of itself. */
export const MIRROR_MARK = { 'docmesh-mirrored': '1' }

/**
 * Copies of calls for a version that is tried out. Nobody waits for the answer: a copy has a deadline of its own,
 * outlives the call, is never sent again, and none is sent while 16 are under way. Only its endpoint learns how it
 * ended; the breaker does not, for no caller was served. A copy says so in its metadata, `docmesh-mirrored: 1`.
 *
 * Only what may be repeated is copied: two versions work on the same data, and a copied write would write twice.
 */
export function createMirror({ service, endpoints, connectionTo, metrics }: MirrorDeps): Mirror {
  const mirrored = metrics.counter('docmesh_mesh_mirrored_total').labels({ service })
  let inFlight = 0
  const copy: Mirror['copy'] = async (method, options, sendTo) => {
    const { requestStream, responseStream, idempotency } = method
    if (requestStream || responseStream || idempotency === 'none' || inFlight >= MAX_IN_FLIGHT) return
    const pick = endpoints.pick(options)
    if (typeof pick === 'string') return
    inFlight += 1
    try {
      const sent = sendTo(pick.endpoint)
      if (!sent) return pick.done('NONE')
      mirrored.inc()
      await sent
      pick.done('SUCCESS')
    } catch (error) {
      // Its result is of no interest to anybody but the endpoint.
      pick.done(error instanceof RpcError ? outcomeOf(error) : 'NONE')
    } finally {
      inFlight -= 1
    }
  }
  return {
    copy,
    send(call, version) {
      copy(call.method, { version }, ({ address }) =>
        sendOver(connectionTo(address))({
          ...call,
          metadata: { ...call.metadata, ...MIRROR_MARK },
          deadline: Date.now() + MIRROR_TIMEOUT_MS,
          signal: undefined,
        }),
      )
    },
  }
}
