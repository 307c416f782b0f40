import {
  type InstanceState,
  type Lease,
  type MeshIncident,
  type RegisterRequest,
  type Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { type ClientTransport, createClient, durationOf, msOf, RpcError, sendOver } from '@docmesh/rpc'
import { abortable } from './abortable.ts'

/** The instance whose leases these are: what it has to tell the replicas of the registry. */
export interface LeaseHolder {
  registration(): Registration
  /** Lag of its event loop. */
  lagMs(): number
  /** Something that it saw and no replica has been told of yet; the lease that asks takes it. */
  nextIncident(): MeshIncident | undefined
  /** Calls the listener when there is something to tell at once; the answer unsubscribes. */
  onNews(listener: () => void): () => void
}

export interface LeaseOptions {
  /** One replica of the registry; an instance keeps a lease on each. */
  readonly target: string
  readonly transport: ClientTransport
  readonly log: (level: 'debug' | 'warn', fields: object, message: string) => void
  readonly holder: LeaseHolder
  /** Token of a lease that this instance has held before. Default none. */
  readonly token?: string
  /** The replica may list this instance already, though there is no token to prove it. Default false. */
  readonly mayBeListed?: boolean
  readonly onGranted: (token: string) => void
  /** The replica has taken note of this state. */
  readonly onConfirmed: (state: InstanceState) => void
  /** The instance is asked to finish its calls, in this time if one is given, and to leave. */
  readonly onDrain: (graceMs: number | undefined) => void
  /** Another process has the id of this one. */
  readonly onReplaced: (error: RpcError) => void
  /** A replica that takes longer to grant a lease is as good as down. Default 5,000. */
  readonly grantTimeoutMs?: number
}

const DEFAULT_INTERVAL_MS = 5_000
const HEARTBEAT_JITTER = 0.1

/**
 * Keeps this instance listed at one replica until `signal` aborts: registers, sends heartbeats at the interval that the
 * replica grants (±10 %) and whenever there is news, and registers again after any loss, with jittered back-off.
 */
export async function keepLease(options: LeaseOptions, signal: AbortSignal): Promise<void> {
  const { target, log, onGranted, onReplaced } = options
  const delayMs = createBackoff({ initialMs: 50, maxMs: 2_000, jitter: 0.2 }, Math.random)
  let { token = '', mayBeListed = false } = options
  let failures = 0
  while (!signal.aborted) {
    let isGranted = false
    try {
      await holdLease(options, token, signal, (leaseToken) => {
        isGranted = true
        mayBeListed = false
        failures = 0
        token = leaseToken
        onGranted(token)
      })
    } catch (err) {
      if (signal.aborted) return
      const reason = err instanceof RpcError ? err.reason : undefined
      if (err instanceof RpcError && isReplaced(err, mayBeListed)) return onReplaced(err)
      const isRefused = reason === 'INSTANCE_EXISTS' || reason === 'LEASE_MISMATCH'
      const isUnheard = !isGranted && !isRefused && !(err instanceof RpcError && err.remote?.notSent)
      mayBeListed ||= isUnheard
      const level = failures === 3 || (isRefused && failures === 0) ? 'warn' : 'debug'
      log(level, { err, target }, 'lease lost; registering again')
    }
    await abortable(delayMs(++failures), signal)
  }
}

/**
 * A registration whose answer was lost may have been granted: then the lease that stands in the way is our own, without
 * its token, and passes once the replica has seen the stream break.
 */
const isReplaced = ({ reason }: RpcError, mayBeListed: boolean): boolean =>
  reason === 'STALE_INCARNATION' || (reason === 'INSTANCE_EXISTS' && !mayBeListed)

async function holdLease(
  options: LeaseOptions,
  leaseToken: string,
  signal: AbortSignal,
  granted: (token: string) => void,
): Promise<void> {
  const { target, transport, holder, onConfirmed, onDrain, grantTimeoutMs = 5_000 } = options
  const connection = transport.connect(target)
  const registry = createClient(RegistryServiceDefinition, sendOver(connection))
  const ended = new AbortController()
  const grantTimeout = setTimeout(() => ended.abort(), grantTimeoutMs).unref()
  const firstLease = Promise.withResolvers<void>()
  /** States that were sent and not confirmed yet; the replica answers in order. */
  const sent: InstanceState[] = []
  let token = leaseToken
  let intervalMs = DEFAULT_INTERVAL_MS
  let rest = new AbortController()
  let hasNews = false
  let mustRegister = true
  const wake = (): void => {
    hasNews = true
    rest.abort()
  }
  const unsubscribe = holder.onNews(wake)

  function nextRequest(): Partial<RegisterRequest> {
    const registration = holder.registration()
    const { state } = registration
    sent.push(state)
    if (!mustRegister) {
      const eventLoopLag = durationOf(holder.lagMs())
      return { message: { $case: 'heartbeat', value: { state, eventLoopLag } } }
    }
    mustRegister = false
    return { message: { $case: 'registration', value: registration }, leaseToken: token }
  }

  async function* requests() {
    yield nextRequest()
    await firstLease.promise
    while (!ended.signal.aborted) {
      if (!hasNews) {
        rest = new AbortController()
        await abortable(intervalMs * (1 + HEARTBEAT_JITTER * (2 * Math.random() - 1)), rest.signal)
        if (ended.signal.aborted) return
      }
      hasNews = false
      for (let value = holder.nextIncident(); value; value = holder.nextIncident())
        yield { message: { $case: 'incident', value } } as const
      yield nextRequest()
    }
  }
  try {
    const responses = registry.register(requests(), { signal: AbortSignal.any([signal, ended.signal]) })
    for await (const { message } of responses) {
      if (message?.$case === 'command') {
        const { command } = message.value
        if (command?.$case === 'drain') onDrain(command.value.grace && msOf(command.value.grace))
        if (command?.$case === 'reregister') {
          mustRegister = true
          wake()
        }
        continue
      }
      if (message?.$case === 'lease') {
        clearTimeout(grantTimeout)
        intervalMs = heartbeatIntervalMs(message.value)
        token = message.value.leaseToken
        granted(token)
        firstLease.resolve()
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
