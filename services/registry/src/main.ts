import { BackupServiceDefinition } from '@docmesh/contracts/ops/v1/backup'
import { DeploymentServiceDefinition } from '@docmesh/contracts/ops/v1/deployment'
import { EventServiceDefinition } from '@docmesh/contracts/ops/v1/event'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { grpcJsClient, implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { openDatabase } from './database.ts'
import { env } from './env.ts'
import { eventHandlers } from './event-handlers.ts'
import { registryHandlers } from './handlers.ts'
import { startHealthChecks } from './health-checks.ts'
import { observeRegistry } from './observe.ts'
import { createPolicies } from './policies.ts'
import { policyHandlers } from './policy-handlers.ts'
import { policyStore } from './policy-store.ts'
import { startPublishing } from './publishing.ts'
import { createRegistry } from './registry.ts'
import { startReplication } from './replication.ts'
import { startSweeping } from './sweep.ts'
import { xdsImplementations } from './xds/ads.ts'

await runService('registry', env, async ({ env, own, clock, ids, logger, metrics }) => {
  const { random } = Math
  const monotonic = (): number => performance.now()
  const { leaseTtlMs, suspectGraceMs, degradedLagMs } = env
  const { databaseUrl: url, databasePoolMax: poolMax, natsUrl, natsStream: stream, redisUrl } = env
  const registry = createRegistry({
    epoch: ids(),
    leaseTtlMs,
    suspectGraceMs,
    degradedLagMs,
    policiesPending: url !== undefined,
    monotonic,
    clock,
  })
  const { refresh } = observeRegistry(registry, metrics, logger)
  own(startSweeping(registry, refresh))
  const { healthIntervalMs: intervalMs, healthTimeoutMs: timeoutMs } = env
  own(startHealthChecks(registry, { transport: grpcJsClient, intervalMs, timeoutMs, logger, random }))

  const database = url
    ? own(openDatabase({ url, poolMax, natsUrl, stream, metrics, logger, random }))
    : undefined
  const opened = database?.opened
  const publishing = opened && own(startPublishing(registry, { opened, clock, logger, metrics, random }))
  const eventLog = eventHandlers({ opened })
  const store = opened?.then(({ db, events: { publish } }) => policyStore({ db, publish, clock }))
  const policies = own(createPolicies({ store, registry, metrics, logger, random }))
  const replication =
    redisUrl === undefined
      ? undefined
      : own(
          startReplication({
            redisUrl,
            prefix: env.redisPrefix,
            registry,
            logger,
            metrics,
            monotonic,
            random,
          }),
        )
  const xds = xdsImplementations(registry, metrics, logger)

  const handlers = registryHandlers(registry, metrics, {
    onIncident: (incident) => publishing?.incident(incident),
    status: () => ({
      replicating: replication?.connected() ?? false,
      peers: replication?.peers() ?? 0,
      xdsStreams: xds.streams(),
    }),
  })
  return {
    serve: [
      implement(RegistryServiceDefinition, { ...handlers, ...policyHandlers(policies) }),
      ...xds.implementations,
      implement(EventServiceDefinition, eventLog.handlers),
      implement(BackupServiceDefinition, {}),
      implement(DeploymentServiceDefinition, {}),
    ],
    async stopping() {
      await replication?.close() // first: that its streams end is no news of the instances
      eventLog.close()
      registry.close()
    },
  }
})
