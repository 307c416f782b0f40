import {
  type InstanceState,
  type RegisterResponse,
  type Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { type ClientTransport, createClient, RpcError, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'

export interface LeaseOptions {
  /** One replica of the registry; an instance keeps a lease on each. */
  readonly target: string
  readonly transport: ClientTransport
  readonly logger: Logger
  readonly registration: () => Registration
  /** Resolves when the state has changed, so that the registry hears of it at once. */
  readonly stateChanged: () => Promise<void>
  readonly onGranted: () => void
  readonly onStale: (error: RpcError) => void
}

const FIRST_HEARTBEAT_MS = 5_000
const HEARTBEAT_JITTER = 0.1

/**
 * Keeps this instance listed at one replica until `signal` aborts: registers, sends heartbeats at the interval that the
 * replica grants (±10 %), and registers again after any loss, with jittered back-off.
 */
export async function keepLease(options: LeaseOptions, signal: AbortSignal): Promise<void> {
  const delayMs = createBackoff({ initialMs: 50, maxMs: 2_000, jitter: 0.2 }, Math.random)
  let failures = 0
  while (!signal.aborted) {
    try {
      await holdLease(options, signal, () => {
        failures = 0
        options.onGranted()
      })
    } catch (err) {
      if (signal.aborted) return
      if (err instanceof RpcError && err.reason === 'STALE_INCARNATION') return options.onStale(err)
      options.logger[failures === 3 ? 'warn' : 'debug'](
        { err, target: options.target },
        'lease lost; registering again',
      )
    }
    await abortable(delayMs(++failures), signal)
  }
}

async function holdLease(options: LeaseOptions, signal: AbortSignal, granted: () => void): Promise<void> {
  const connection = options.transport.connect(options.target)
  const registry = createClient(RegistryServiceDefinition, sendOver(connection))
  const stream = new AbortController()
  let intervalMs = FIRST_HEARTBEAT_MS
  async function* requests() {
    yield { message: { $case: 'registration', value: options.registration() } } as const
    while (!stream.signal.aborted) {
      const waitMs = intervalMs * (1 + HEARTBEAT_JITTER * (2 * Math.random() - 1))
      await Promise.race([abortable(waitMs, stream.signal), options.stateChanged()])
      const state: InstanceState = options.registration().state
      yield { message: { $case: 'heartbeat', value: { state } } } as const
    }
  }
  try {
    const responses = registry.register(requests(), { signal: AbortSignal.any([signal, stream.signal]) })
    for await (const response of responses) {
      const interval = leaseInterval(response)
      if (interval === undefined) continue
      intervalMs = interval
      granted()
    }
  } finally {
    stream.abort()
    connection.close()
  }
}

function leaseInterval({ message }: RegisterResponse): number | undefined {
  if (message?.$case !== 'lease') return undefined
  const interval = message.value.heartbeatInterval
  return interval ? Number(interval.seconds) * 1_000 + interval.nanos / 1e6 : FIRST_HEARTBEAT_MS
}
