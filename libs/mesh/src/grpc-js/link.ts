import * as grpc from '@grpc/grpc-js'
import { type Channel, watchHealth } from './subchannel-health.ts'

const { CONNECTING, IDLE, READY, TRANSIENT_FAILURE } = grpc.connectivityState

/** What a link needs of a subchannel of grpc-js. */
export interface Subchannel {
  getConnectivityState(): grpc.connectivityState
  addConnectivityStateListener(listener: StateListener): void
  removeConnectivityStateListener(listener: StateListener): void
  startConnecting(): void
  getChannel(): Channel
  getRealSubchannel(): object
  ref(): void
  unref(): void
}

type StateListener = (
  subchannel: unknown,
  previous: grpc.connectivityState,
  state: grpc.connectivityState,
  keepaliveMs: number,
  error?: string,
) => void

export type LinkState<S> =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'ready'; readonly subchannel: S }
  /** The last attempt failed; there will be others. */
  | { readonly kind: 'failed'; readonly error: string }

export interface LinkOptions<S> {
  /** A subchannel that is none of those it gave before. */
  readonly open: () => S
  /** Time for one connection attempt. */
  readonly connectTimeoutMs: number
  readonly onState: () => void
  /** What this process knows of the instance by itself. */
  readonly onHealth: (healthy: boolean) => void
  readonly onDiscard: () => void
}

/** The connection of one channel to one instance. */
export interface Link<S> {
  state(): LinkState<S>
  close(): void
}

/**
 * Connects at once and stays connected. grpc-js itself puts no end to a connection attempt that nobody answers
 * (grpc-node #2785): the link gives up on it and takes another subchannel.
 */
export function openLink<S extends Subchannel>(options: LinkOptions<S>): Link<S> {
  const { open, connectTimeoutMs, onState, onHealth, onDiscard } = options
  let state: LinkState<S> = { kind: 'connecting' }
  let subchannel: S
  let stuck: NodeJS.Timeout | undefined
  let stopHealth = (): void => {}

  const listen: StateListener = (_subchannel, _previous, next, _keepaliveMs, error) => {
    enter(next, error)
    onState()
  }

  function enter(next: grpc.connectivityState, error = 'connection failed'): void {
    clearTimeout(stuck)
    stopHealth()
    switch (next) {
      case READY:
        state = { kind: 'ready', subchannel }
        onHealth(true)
        stopHealth = watchHealth(subchannel.getChannel(), onHealth)
        break
      case TRANSIENT_FAILURE:
        fail(error)
        subchannel.startConnecting()
        break
      case CONNECTING:
        if (state.kind === 'ready') state = { kind: 'connecting' }
        stuck = setTimeout(discard, connectTimeoutMs).unref()
        break
      case IDLE:
        if (state.kind === 'ready') state = { kind: 'connecting' }
        subchannel.startConnecting()
    }
  }

  function fail(error: string): void {
    state = { kind: 'failed', error }
    onHealth(false)
  }

  function discard(): void {
    onDiscard()
    fail(`no answer within ${connectTimeoutMs} ms`)
    const given = subchannel
    release()
    abortConnecting(given)
    attach()
    onState()
  }

  function attach(): void {
    subchannel = open()
    subchannel.ref()
    subchannel.addConnectivityStateListener(listen)
    enter(subchannel.getConnectivityState())
  }

  function release(): void {
    clearTimeout(stuck)
    stopHealth()
    subchannel.removeConnectivityStateListener(listen)
    subchannel.unref()
  }

  attach()
  return {
    state: () => state,
    close() {
      release()
      onHealth(true) // nothing more is known of it here
    },
  }
}

/**
 * grpc-js has no way to end a connection attempt: a subchannel that was given up would keep its socket for as long as the
 * peer is silent.
 */
function abortConnecting(subchannel: Subchannel): void {
  const { connector } = subchannel.getRealSubchannel() as {
    readonly connector?: { readonly session?: { destroy(): void } | null }
  }
  connector?.session?.destroy()
}
