/** A program for footprint.test.ts: joins as a client that logs nothing and shows no metrics; prints what that has loaded. */
import { registerHooks } from 'node:module'

const loaded = new Set<string>()
registerHooks({
  load(url, context, next) {
    const found = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)
    if (found?.[1]) loaded.add(found[1])
    else if (url.startsWith('node:')) loaded.add(url)
    return next(url, context)
  },
})
const { createMetrics, silentLogger } = await import('@docmesh/telemetry')
const { HealthDefinition } = await import('@docmesh/contracts/grpc/health/v1/health')
const { joinMesh } = await import('./index.ts')

const mesh = joinMesh({
  registryTargets: ['127.0.0.1:1'],
  logger: silentLogger,
  metrics: createMetrics({ service: 'caller', version: '1' }),
})
mesh.client(HealthDefinition, 'anybody')
await mesh.close()
process.stdout.write(JSON.stringify([...loaded]))
