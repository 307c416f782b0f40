/** An instance of the mesh for registration.integration.test.ts, which blocks its main thread when it is told to. */
import { InstanceState, Registration } from '@docmesh/contracts/registry/v1/registry'
import { grpcJsClient } from '@docmesh/rpc'
import { silentLogger } from '@docmesh/telemetry'
import { register } from './registration.ts'

const membership = register(
  Registration.fromPartial({
    service: 'document',
    instanceId: 'i1',
    address: 'h:1',
    incarnation: 1n,
    state: InstanceState.SERVING,
  }),
  {
    targets: [process.env.REGISTRY_TARGET ?? ''],
    transport: grpcJsClient,
    logger: silentLogger,
    onReplaced: () => process.exit(1),
    onDrain: () => {},
  },
)
process.on('message', async (wish: { blockMs: number } | 'leave') => {
  if (wish === 'leave') {
    await membership.leave()
    process.disconnect()
    return
  }
  const until = performance.now() + wish.blockMs
  while (performance.now() < until);
  process.send?.('unblocked')
})
await membership.granted
process.send?.('granted')
