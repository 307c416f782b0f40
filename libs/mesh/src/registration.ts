import {
  InstanceState,
  type Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { type ClientTransport, createClient, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'
import { keepLease } from './lease.ts'

/** This process in the mesh. */
export interface Membership {
  readonly instanceId: string
  /** Resolves once the first replica of the registry has granted a lease. */
  readonly granted: Promise<void>
  /**
   * Tells every replica that no new calls should come; the lease stays. Resolves when one of them has taken note, after
   * 500 ms anyway, and at once if there has never been a lease.
   */
  drain(): Promise<void>
  /** Ends the leases, within a second. Never rejects: a registry that is down finds out by itself. */
  leave(): Promise<void>
}

export interface MembershipOptions {
  readonly targets: readonly string[]
  readonly transport: ClientTransport
  readonly logger: Logger
  /** Called when a newer process uses the same instance id: this one has to end. */
  readonly onReplaced: (error: Error) => void
}

const DRAIN_TIMEOUT_MS = 500
const LEAVE_TIMEOUT_MS = 1_000

/** Registers with every replica of the registry, so that each knows the whole mesh from its source. */
export function register(
  initial: Registration,
  { targets, transport, logger, onReplaced }: MembershipOptions,
): Membership {
  const ended = new AbortController()
  const granted = Promise.withResolvers<void>()
  let registration = initial
  const drained = Promise.withResolvers<void>()
  const listeners = new Set<() => void>()
  let isListed = false
  const leases = targets.map((target) =>
    keepLease(
      {
        target,
        transport,
        logger,
        registration: () => registration,
        onStateChange(listener) {
          listeners.add(listener)
          return () => listeners.delete(listener)
        },
        onGranted() {
          isListed = true
          granted.resolve()
        },
        onConfirmed: (state) => state === InstanceState.DRAINING && drained.resolve(),
        onStale: onReplaced,
      },
      ended.signal,
    ),
  )
  return {
    instanceId: initial.instanceId,
    granted: granted.promise,
    async drain() {
      registration = { ...registration, state: InstanceState.DRAINING }
      for (const listener of listeners) listener()
      if (isListed) await Promise.race([drained.promise, abortable(DRAIN_TIMEOUT_MS, ended.signal)])
    },
    async leave() {
      ended.abort() // first: a heartbeat that comes after the deregistration would register the instance again
      await Promise.allSettled([
        ...leases,
        ...targets.map((target) => deregister(target, initial, transport)),
      ])
    },
  }
}

async function deregister(
  target: string,
  { instanceId, incarnation }: Registration,
  transport: ClientTransport,
): Promise<void> {
  const connection = transport.connect(target)
  try {
    const registry = createClient(RegistryServiceDefinition, sendOver(connection))
    await registry.deregister({ instanceId, incarnation }, { timeoutMs: LEAVE_TIMEOUT_MS })
  } finally {
    connection.close()
  }
}
