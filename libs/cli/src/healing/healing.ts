import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { connectEvents } from '@docmesh/events'
import {
  createHealing,
  FLEET_STRATEGIES,
  fleetActions,
  type HealingEvent,
  type HealingOptions,
} from '@docmesh/healing'
import { openPostgres } from '@docmesh/postgres'
import { createClient, durationOf, grpcJsClient, sendOver } from '@docmesh/rpc'
import { allInstances } from '../commands/services.ts'
import type { MendableProcess, ProcessSpec } from '../supervised-process.ts'
import type { Supervisor } from '../supervisor.ts'
import { type CheckOptions, type CheckSources, instanceChecks, sharedChecks } from './checks.ts'
import { localFleet } from './fleet.ts'
import { createJournal } from './journal.ts'
import type { KeptPostgres } from './postgres.ts'

export interface LocalHealingOptions
  extends CheckOptions,
    Partial<Pick<HealingOptions, 'settleMs' | 'verifyMs' | 'cooldownMs' | 'lingerMs' | 'perTarget'>> {
  readonly onEvent?: (event: HealingEvent) => void
}

export interface LocalHealingDeps {
  readonly supervisor: Supervisor
  readonly postgres: KeptPostgres | undefined
  readonly databaseUrl: string
  readonly registry: string
  readonly dataDir: string
  readonly specOf: (service: string, name: string) => ProcessSpec
}

/** Nobody can start a database again that somebody else runs. */
const FOREIGN_DATABASE = { check: 'database', steps: [], escalation: 'critical' } as const
/** One machine has only so much room. */
const MAX_INSTANCES = 8
const CIRCUIT_MS = 15_000
/** Above the time that a process gets to become ready, or a database to end and start. */
const ACTION_TIMEOUT_MS = 120_000
const QUERY_TIMEOUT_MS = 5_000
const DRAIN_WAIT_MS = 500

const after = (ms: number, fn: () => void): (() => void) => {
  const timer = setTimeout(fn, ms).unref()
  return () => clearTimeout(timer)
}

/** Watches the mesh of a supervisor and mends it. The answer ends that. */
export async function startHealing(
  { onEvent, settleMs = 2_000, ...options }: LocalHealingOptions,
  { supervisor, postgres, databaseUrl: url, registry: target, dataDir, specOf }: LocalHealingDeps,
): Promise<{ stop(): Promise<void> }> {
  const db = await openPostgres({
    url,
    schema: 'events',
    poolMax: 2,
    connectTimeoutMs: QUERY_TIMEOUT_MS,
    statementTimeoutMs: QUERY_TIMEOUT_MS,
    applicationName: 'docmesh-healing',
  })
  const events = await connectEvents({ db }).catch(async (error: unknown) => {
    await db.close()
    throw error
  })
  const journal = createJournal({ db, publish: events.publish, after, runId: randomUUIDv7() })
  const connection = grpcJsClient.connect(target)
  const registry = createClient(RegistryServiceDefinition, sendOver(connection))
  const fleet = localFleet({
    supervisor,
    postgres,
    specOf,
    drain: (instanceId, signal) =>
      registry.drain(
        { instanceId, wait: durationOf(DRAIN_WAIT_MS) },
        { signal, timeoutMs: QUERY_TIMEOUT_MS },
      ),
  })
  const healing = createHealing(
    {
      ...options,
      settleMs,
      actionTimeoutMs: ACTION_TIMEOUT_MS,
      actions: fleetActions(fleet, { maxInstances: MAX_INSTANCES, circuitMs: CIRCUIT_MS }),
      strategies: postgres ? FLEET_STRATEGIES : [FOREIGN_DATABASE, ...FLEET_STRATEGIES],
    },
    {
      now: () => performance.now(),
      after,
      random: Math.random,
      ids: randomUUID,
      onEvent(event) {
        journal.record(event)
        onEvent?.(event)
      },
    },
  )

  const sources: CheckSources = { dataDir, ping: () => db.ping(), listed: () => allInstances(registry) }
  for (const check of sharedChecks(options, sources)) healing.watch(check)
  const watches = new Map<MendableProcess, readonly (() => void)[]>()
  /** Processes come and go, by this healing, and names are given again; one is watched from its first readiness on. */
  function follow(): void {
    const running = supervisor.processes()
    for (const [process, ends] of watches) {
      if (running.includes(process)) continue
      for (const end of ends) end()
      watches.delete(process)
    }
    for (const process of running) {
      if (watches.has(process) || process.state().kind !== 'ready') continue
      const checks = instanceChecks(process, options, sources)
      watches.set(
        process,
        checks.map((check) => healing.watch(check)),
      )
    }
  }
  follow()
  const following = setInterval(follow, options.intervalMs ?? QUERY_TIMEOUT_MS).unref()

  return {
    async stop() {
      clearInterval(following)
      await healing.stop()
      await journal.close()
      connection.close()
      // A database that hangs must not hold up the end of the mesh.
      const late = Promise.withResolvers<void>()
      const cancel = after(QUERY_TIMEOUT_MS, late.resolve)
      await Promise.race([Promise.allSettled([events.close(), db.close()]), late.promise])
      cancel()
    },
  }
}
