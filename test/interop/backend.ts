// `node backend.ts REGISTRY INSTANCE_ID VERSION`: an instance of the service `echo` that says who it is when it is asked for
// its diagnostics. Drains on SIGTERM.
import { setTimeout as delay } from 'node:timers/promises'
import { DiagnosticsServiceDefinition, GetDiagnosticsResponse } from '@docmesh/contracts/ops/v1/diagnostics'
import { InstanceState, Registration } from '@docmesh/contracts/registry/v1/registry'
import { joinMesh } from '@docmesh/mesh'
import { createHealthService, grpcJsServer, implement, routesOf } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'

/** What the registry's push needs to reach the callers. */
const DRAIN_NOTICE_MS = 200
const GRACE_MS = 5_000

const [, , registry = '', instanceId = '', version = ''] = process.argv
const metrics = createMetrics({ service: 'echo', version, processMetrics: false })
const mesh = joinMesh({ registryTargets: [registry], logger: silentLogger, metrics })
const serving = createHealthService([])
serving.set(true)
const diagnostics = implement(DiagnosticsServiceDefinition, {
  getDiagnostics: async () => GetDiagnosticsResponse.fromPartial({ process: { instanceId, version } }),
})
const listener = await grpcJsServer.listen(
  '127.0.0.1:0',
  [diagnostics, serving.implementation].flatMap((each) => routesOf(each, [])),
)
const membership = mesh.register(
  Registration.fromPartial({
    service: 'echo',
    instanceId,
    version,
    incarnation: BigInt(Date.now()),
    address: listener.address,
    state: InstanceState.SERVING,
  }),
  { onReplaced: () => process.exit(1), onDrain: () => void stop() },
)
await membership.granted
process.on('SIGTERM', () => void stop())
process.on('disconnect', () => process.exit(1))
process.send?.({ kind: 'ready' })

async function stop(): Promise<void> {
  await membership.drain()
  await delay(DRAIN_NOTICE_MS)
  await listener.close(GRACE_MS)
  await membership.leave()
  await mesh.close()
  process.exit(0)
}
