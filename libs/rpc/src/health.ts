import {
  HealthDefinition,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { Code } from './codes.ts'
import { RpcError } from './errors.ts'
import { type Implementation, implement } from './server.ts'

/** grpc.health.v1 for one process: the overall name `''` and each service name share one state. */
export interface HealthService {
  readonly implementation: Implementation
  set(serving: boolean): void
}

export function createHealthService(services: readonly string[]): HealthService {
  const known = new Set(['', ...services])
  const listeners = new Set<() => void>()
  let serving = false
  const status = (): Serving => (serving ? Serving.SERVING : Serving.NOT_SERVING)
  const change = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const wake = (): void => {
        listeners.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      listeners.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  return {
    set(value) {
      if (value === serving) return
      serving = value
      for (const listener of listeners) listener()
    },
    implementation: implement(HealthDefinition, {
      async check({ service }) {
        if (!known.has(service))
          throw new RpcError(Code.NOT_FOUND, 'UNKNOWN_SERVICE', `Not served here: ${service}`)
        return { status: status() }
      },
      async list() {
        return { statuses: Object.fromEntries([...known].map((name) => [name, { status: status() }])) }
      },
      async *watch({ service }, { signal }) {
        const isKnown = known.has(service)
        let told: Serving | undefined
        while (!signal.aborted) {
          const current = isKnown ? status() : Serving.SERVICE_UNKNOWN
          if (current === told) {
            await change(signal)
            continue
          }
          told = current
          yield { status: current }
        }
      },
    }),
  }
}
