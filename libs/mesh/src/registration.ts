import type { Worker } from 'node:worker_threads'
import {
  InstanceState,
  IncidentKind as Kind,
  type Registration,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { type ClientTransport, createClient, durationOf, RpcError, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'
import type { Incident, IncidentKind } from './incident.ts'
import { startBeat } from './lease-worker-beat.ts'
import type { FromLeaseWorker, LeaseWorkerData, ToLeaseWorker } from './lease-worker-messages.ts'

/** This process in the mesh. */
export interface Membership {
  readonly instanceId: string
  /** Resolves once the first replica of the registry has granted a lease. */
  readonly granted: Promise<void>
  /** Tells one replica of something that this process saw as a caller; dropped if none takes it for long. */
  report(incident: Incident): void
  /**
   * Tells every replica that no new calls should come; the lease stays. Resolves when the callers know, or after two
   * seconds and a half anyway, and at once if there has never been a lease.
   */
  drain(): Promise<void>
  /** Ends the leases, within a second. Never rejects: a registry that is down finds out by itself. */
  leave(): Promise<void>
}

export interface MembershipEvents {
  /** Another process uses the same instance id: this one has to end. */
  readonly onReplaced: (error: Error) => void
  /** The registry asks this process to finish its calls, in `graceMs` if that is given, and to end. */
  readonly onDrain: (graceMs: number | undefined) => void
}

export interface MembershipOptions extends MembershipEvents {
  readonly targets: readonly string[]
  /** For the drain; the leases are kept over grpc-js. */
  readonly transport: ClientTransport
  readonly logger: Logger
}

const CONFIRM_TIMEOUT_MS = 500
const DRAIN_WAIT_MS = 2_000
const LEAVE_TIMEOUT_MS = 1_000
/** Three times what it uses, so that it ends before it harms the process; a small young generation saves 4 MB. */
const WORKER_LIMITS = { maxOldGenerationSizeMb: 48, maxYoungGenerationSizeMb: 2 }

const KINDS: Record<IncidentKind, Kind> = {
  endpoint_ejected: Kind.ENDPOINT_EJECTED,
  endpoint_readmitted: Kind.ENDPOINT_READMITTED,
  circuit_opened: Kind.CIRCUIT_OPENED,
  circuit_half_opened: Kind.CIRCUIT_HALF_OPENED,
  circuit_closed: Kind.CIRCUIT_CLOSED,
  panic_started: Kind.PANIC_STARTED,
  panic_ended: Kind.PANIC_ENDED,
}

/**
 * Registers with every replica of the registry, so that each knows the whole mesh from its source. The leases are kept
 * by a thread of their own; one that dies is replaced.
 */
export function register(
  initial: Registration,
  { targets, transport, logger, onReplaced, onDrain }: MembershipOptions,
): Membership {
  // Not imported: a process that only calls loads no threads.
  const threads = process.getBuiltinModule('node:worker_threads')
  const { instanceId } = initial
  const granted = Promise.withResolvers<void>()
  const drained = Promise.withResolvers<void>()
  const left = Promise.withResolvers<void>()
  const ended = new AbortController()
  const beat = startBeat()
  const tokens = new Map<string, string>()
  const delayMs = createBackoff({ initialMs: 100, maxMs: 5_000 }, Math.random)
  let registration = initial
  let failures = 0
  let worker = startWorker()

  function startWorker(): Worker {
    const data: LeaseWorkerData = {
      targets,
      registration,
      beat: beat.memory,
      tokens,
      mayBeListed: failures > 0,
    }
    const started = new threads.Worker(new URL('./lease-worker.ts', import.meta.url), {
      name: 'leases',
      workerData: data,
      execArgv: [],
      resourceLimits: WORKER_LIMITS,
    })
    started.unref()
    started.on('message', hear)
    started.on('error', (err) => logger.error({ err }, 'the thread that keeps the leases has failed'))
    started.on('exit', async () => {
      await abortable(delayMs(++failures), ended.signal)
      if (ended.signal.aborted) left.resolve()
      else worker = startWorker()
    })
    return started
  }

  const tell = (message: ToLeaseWorker): void => worker.postMessage(message)

  function hear(message: FromLeaseWorker): void {
    switch (message.kind) {
      case 'granted':
        failures = 0
        tokens.set(message.target, message.token)
        granted.resolve()
        break
      case 'confirmed':
        if (message.state === InstanceState.DRAINING) drained.resolve()
        break
      case 'drain':
        onDrain(message.graceMs)
        break
      case 'replaced':
        tokens.clear() // a drain by id would drain the other process
        onReplaced(new RpcError(message.code, message.reason, message.message))
        break
      case 'log':
        logger[message.level](message.fields, message.message)
        break
      case 'left':
        left.resolve()
    }
  }

  /** Returns when the callers that watch this replica know, or when it cannot tell. */
  async function drainAt(target: string): Promise<void> {
    const connection = transport.connect(target)
    try {
      const registry = createClient(RegistryServiceDefinition, sendOver(connection))
      await registry.drain(
        { instanceId, wait: durationOf(DRAIN_WAIT_MS) },
        { timeoutMs: DRAIN_WAIT_MS, signal: ended.signal },
      )
    } catch (err) {
      logger.debug({ err, target }, 'the registry does not say who knows of the drain')
    } finally {
      connection.close()
    }
  }

  return {
    instanceId,
    granted: granted.promise,
    report: (incident) => tell({ kind: 'incident', incident: { ...incident, kind: KINDS[incident.kind] } }),
    async drain() {
      registration = { ...registration, state: InstanceState.DRAINING }
      tell({ kind: 'state', state: InstanceState.DRAINING })
      if (tokens.size === 0) return
      await Promise.race([drained.promise, abortable(CONFIRM_TIMEOUT_MS, ended.signal)])
      await Promise.all(targets.map(drainAt))
    },
    async leave() {
      ended.abort()
      beat.stop()
      worker.ref()
      tell({ kind: 'leave' })
      await Promise.race([left.promise, abortable(LEAVE_TIMEOUT_MS, new AbortController().signal)])
      await worker.terminate()
    },
  }
}
