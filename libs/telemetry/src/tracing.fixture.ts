/** A program for tracing.test.ts: one call over loopback, traced as the environment says; prints what it saw. */
import { registerHooks } from 'node:module'
import { Client, credentials, Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js'
import type { DeploymentEnvironment } from './tracing.ts'

const sdkModules: string[] = []
registerHooks({
  resolve(specifier, context, next) {
    if (/sdk-node|instrumentation-grpc/.test(specifier)) sdkModules.push(specifier)
    return next(specifier, context)
  },
})
const { createMetrics } = await import('./metrics.ts')
const { currentTraceContext, sampledTrace, startTracing, withSpan } = await import('./tracing.ts')

const bytes = (value: Buffer) => value
const echo: ServiceDefinition = {
  Echo: {
    path: '/test.EchoService/Echo',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  },
}

const environment = process.argv[2] as DeploymentEnvironment
const tracing = await startTracing({ service: 'echo', version: '1.2.3', environment })
const metrics = createMetrics({
  service: 'echo',
  version: '1.2.3',
  processMetrics: false,
  exemplar: sampledTrace,
})

const server = new Server()
let inHandler: ReturnType<typeof currentTraceContext>
server.addService(echo, {
  Echo: (call: { request: Buffer }, done: (error: null, value: Buffer) => void) => {
    inHandler = currentTraceContext()
    metrics.histogram('docmesh_document_upload_bytes').observe(call.request.length)
    done(null, call.request)
  },
})
const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  )
})
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())

const remote = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const call = () =>
  new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest('/test.EchoService/Echo', bytes, bytes, Buffer.from('hi'), (error) =>
      error ? reject(error) : resolve(),
    )
  })
await withSpan('handle event', { 'event.type': 'test' }, call, remote)
await withSpan('broken', {}, async () => {
  throw new Error('login of ana@exemplo.com.br')
}).catch(() => {})

let sampledRoots = 0
for (let i = 0; i < 200; i++) {
  await withSpan('root', {}, async () => {
    if (currentTraceContext()?.traceparent.endsWith('-01')) sampledRoots++
  })
}

client.close()
server.forceShutdown()
await tracing.shutdown()
const { body } = await metrics.render()
process.stdout.write(
  JSON.stringify({
    enabled: tracing.enabled,
    instrumented: tracing.instrumented,
    inHandler,
    sampledRoots,
    outside: currentTraceContext() ?? null,
    exemplar: /# \{trace_id="(\w+)"/.exec(body)?.[1],
    sdkModules,
  }),
)
