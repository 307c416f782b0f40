import {
  InstanceState,
  type Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { type ClientTransport, createClient, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { keepLease } from './lease.ts'

/** This process in the mesh. */
export interface Membership {
  readonly instanceId: string
  /** Resolves once the first replica of the registry has granted a lease. */
  readonly granted: Promise<void>
  /** Tells every replica that no new calls should come; the lease stays. */
  drain(): void
  /** Ends the leases. Never rejects: a registry that is down finds out by itself. */
  leave(): Promise<void>
}

export interface MembershipOptions {
  readonly targets: readonly string[]
  readonly transport: ClientTransport
  readonly logger: Logger
  /** Called when a newer process uses the same instance id: this one has to end. */
  readonly onReplaced: (error: Error) => void
}

const LEAVE_TIMEOUT_MS = 1_000

/** Registers with every replica of the registry, so that each knows the whole mesh from its source. */
export function register(
  initial: Registration,
  { targets, transport, logger, onReplaced }: MembershipOptions,
): Membership {
  const ended = new AbortController()
  const granted = Promise.withResolvers<void>()
  let registration = initial
  let changed = Promise.withResolvers<void>()
  const leases = targets.map((target) =>
    keepLease(
      {
        target,
        transport,
        logger,
        registration: () => registration,
        stateChanged: () => changed.promise,
        onGranted: granted.resolve,
        onStale: onReplaced,
      },
      ended.signal,
    ),
  )
  return {
    instanceId: initial.instanceId,
    granted: granted.promise,
    drain() {
      registration = { ...registration, state: InstanceState.DRAINING }
      changed.resolve()
      changed = Promise.withResolvers()
    },
    async leave() {
      await Promise.allSettled(targets.map((target) => deregister(target, initial, transport)))
      ended.abort()
      await Promise.allSettled(leases)
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
