// A program with nothing to do but one call, for lone-call.test.ts: prints why the call failed.
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { RpcError } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { joinMesh } from './mesh.ts'

const mesh = joinMesh({
  registryTargets: ['127.0.0.1:1'],
  logger: silentLogger,
  metrics: createMetrics({ service: 'test', version: '1', processMetrics: false }),
})
const client = mesh.client(DocumentServiceDefinition, 'document')
try {
  await client.getDocument({}, { timeoutMs: 500 })
} catch (error) {
  process.stdout.write(error instanceof RpcError ? error.reason : String(error))
}
await mesh.close()
