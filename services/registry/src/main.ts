import { BackupServiceDefinition } from '@docmesh/contracts/ops/v1/backup'
import { DeploymentServiceDefinition } from '@docmesh/contracts/ops/v1/deployment'
import { EventServiceDefinition } from '@docmesh/contracts/ops/v1/event'
import { JobServiceDefinition } from '@docmesh/contracts/ops/v1/job'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { grpcJsClient, implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { env } from './env.ts'
import { registryHandlers } from './handlers.ts'
import { startHealthChecks } from './health-checks.ts'
import { observeRegistry } from './observe.ts'
import { createRegistry } from './registry.ts'
import { startSweeping } from './sweep.ts'

await runService('registry', env, async ({ env, own, clock, ids, logger, metrics }) => {
  const { leaseTtlMs, suspectGraceMs, healthIntervalMs: intervalMs, healthTimeoutMs: timeoutMs } = env
  const registry = createRegistry({
    epoch: ids(),
    leaseTtlMs,
    suspectGraceMs,
    monotonic: () => performance.now(),
    clock,
  })
  observeRegistry(registry, metrics, logger)
  own(startSweeping(registry))
  own(startHealthChecks(registry, { transport: grpcJsClient, intervalMs, timeoutMs, logger }))
  return {
    serve: [
      implement(RegistryServiceDefinition, registryHandlers(registry, metrics)),
      implement(JobServiceDefinition, {}),
      implement(EventServiceDefinition, {}),
      implement(BackupServiceDefinition, {}),
      implement(DeploymentServiceDefinition, {}),
    ],
    stopping: () => registry.close(),
  }
})
