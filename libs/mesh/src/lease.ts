import {
  type InstanceState,
  type Lease,
  type Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { type ClientTransport, createClient, msOf, RpcError, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'

export interface LeaseOptions {
  /** One replica of the registry; an instance keeps a lease on each. */
  readonly target: string
  readonly transport: ClientTransport
  readonly logger: Logger
  readonly registration: () => Registration
  /** Calls the listener when the state has changed, so that the registry hears of it at once; the answer unsubscribes. */
  readonly onStateChange: (listener: () => void) => () => void
  readonly onGranted: () => void
  /** The replica has taken note of this state. */
  readonly onConfirmed: (state: InstanceState) => void
  readonly onStale: (error: RpcError) => void
  /** A replica that takes longer to grant a lease is as good as down. Default 5,000. */
  readonly grantTimeoutMs?: number
}

const DEFAULT_INTERVAL_MS = 5_000
const HEARTBEAT_JITTER = 0.1

/**
 * Keeps this instance listed at one replica until `signal` aborts: registers, sends heartbeats at the interval that the
 * replica grants (±10 %) and whenever the state changes, and registers again after any loss, with jittered back-off.
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
  const { target, transport, registration, onStateChange, onConfirmed, grantTimeoutMs = 5_000 } = options
  const connection = transport.connect(target)
  const registry = createClient(RegistryServiceDefinition, sendOver(connection))
  const ended = new AbortController()
  const grantTimeout = setTimeout(() => ended.abort(), grantTimeoutMs).unref()
  const firstLease = Promise.withResolvers<void>()
  /** States that were sent and not confirmed yet; the replica answers in order. */
  const sent: InstanceState[] = []
  let intervalMs = DEFAULT_INTERVAL_MS
  let rest = new AbortController()
  const unsubscribe = onStateChange(() => rest.abort())

  async function* requests() {
    const first = registration()
    let { state } = first
    sent.push(state)
    yield { message: { $case: 'registration', value: first } } as const
    await firstLease.promise
    while (!ended.signal.aborted) {
      rest = new AbortController()
      const waitMs = intervalMs * (1 + HEARTBEAT_JITTER * (2 * Math.random() - 1))
      if (registration().state === state) await abortable(waitMs, rest.signal)
      state = registration().state
      sent.push(state)
      yield { message: { $case: 'heartbeat', value: { state } } } as const
    }
  }
  try {
    const responses = registry.register(requests(), { signal: AbortSignal.any([signal, ended.signal]) })
    for await (const { message } of responses) {
      if (message?.$case !== 'lease' && message?.$case !== 'renewed') continue
      if (message.$case === 'lease') {
        clearTimeout(grantTimeout)
        intervalMs = heartbeatIntervalMs(message.value)
        firstLease.resolve()
        granted()
      }
      const state = sent.shift()
      if (state !== undefined) onConfirmed(state)
    }
  } finally {
    clearTimeout(grantTimeout)
    unsubscribe()
    ended.abort()
    rest.abort()
    firstLease.resolve()
    connection.close()
  }
}

const heartbeatIntervalMs = ({ heartbeatInterval }: Lease): number =>
  heartbeatInterval ? msOf(heartbeatInterval) : DEFAULT_INTERVAL_MS
