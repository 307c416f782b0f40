import { joinMesh } from '@docmesh/mesh'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { serveRounds } from './client.ts'
import { EchoDefinition } from './echo.ts'

const mesh = joinMesh({
  registryTargets: [process.argv[2] ?? ''],
  logger: silentLogger,
  metrics: createMetrics({ service: 'bench', version: '0' }),
})
const client = mesh.client(EchoDefinition, 'echo')
await serveRounds(async (payload) => (await client.echo(payload)).length)
