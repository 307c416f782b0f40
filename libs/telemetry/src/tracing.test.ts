import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'

interface OtlpSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly events: { readonly attributes: unknown[] }[]
  readonly status: { readonly code: number; readonly message?: string }
}

interface OtlpExport {
  readonly resourceSpans: {
    readonly resource: {
      readonly attributes: { readonly key: string; readonly value: { stringValue: string } }[]
    }
    readonly scopeSpans: { readonly spans: OtlpSpan[] }[]
  }[]
}

async function startCollector() {
  const received: OtlpExport[] = []
  const server = createServer(async (request, response) => {
    received.push((await json(request)) as OtlpExport)
    response.setHeader('content-type', 'application/json').end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { received, endpoint: `http://127.0.0.1:${port}`, close: () => void server.close() }
}

async function runFixture(env: Record<string, string>, { hook = true, environment = 'development' } = {}) {
  const nodeOptions = hook ? ['--import', '@docmesh/telemetry/register'] : []
  const program = fileURLToPath(new URL('tracing.fixture.ts', import.meta.url))
  const cwd = fileURLToPath(new URL('..', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [...nodeOptions, program, environment], {
    cwd,
    env,
  })
  return JSON.parse(stdout)
}

describe('with an OTLP endpoint', () => {
  let saw: Awaited<ReturnType<typeof runFixture>>
  let spans: OtlpSpan[]
  let resource: Record<string, string>

  beforeAll(async () => {
    const collector = await startCollector()
    try {
      saw = await runFixture({
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        OTEL_RESOURCE_ATTRIBUTES: 'host.name=h1',
      })
    } finally {
      collector.close()
    }
    const exported = collector.received.flatMap((message) => message.resourceSpans)
    spans = exported.flatMap((r) => r.scopeSpans.flatMap((scope) => scope.spans))
    resource = Object.fromEntries(
      exported[0]?.resource.attributes.map((a) => [a.key, a.value.stringValue]) ?? [],
    )
  })

  const named = (name: string, kind: number) => spans.find((span) => span.name === name && span.kind === kind)

  test('a call over grpc-js from an ES module gives a client and a server span in one trace', () => {
    const [internal, server, client] = [1, 2, 3]
    const event = named('handle event', internal)
    const sent = named('grpc.test.EchoService/Echo', client)
    const handled = named('grpc.test.EchoService/Echo', server)
    expect(saw).toMatchObject({ enabled: true, instrumented: true })
    expect(sent).toMatchObject({ traceId: event?.traceId, parentSpanId: event?.spanId })
    expect(handled).toMatchObject({ traceId: event?.traceId, parentSpanId: sent?.spanId })
    expect(saw.inHandler.spanId).toBe(handled?.spanId)
    expect(saw.inHandler.traceparent).toBe(`00-${handled?.traceId}-${handled?.spanId}-01`)
    expect(saw.outside).toBeNull()
  })

  test('a span continues the traceparent that it was given', () => {
    expect(spans.find((span) => span.name === 'handle event')).toMatchObject({
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      parentSpanId: '00f067aa0ba902b7',
    })
  })

  test('an observation in a sampled span leaves an exemplar', () => {
    expect(saw.exemplar).toBe('4bf92f3577b34da6a3ce929d0e0e4736')
  })

  test('a failure marks the span and shows no personal data', () => {
    const broken = spans.find((span) => span.name === 'broken')
    expect(broken?.status).toEqual({ code: 2, message: 'login of [email]' })
    expect(broken?.events).toHaveLength(1)
    expect(JSON.stringify(broken)).not.toContain('ana@')
  })

  test('the resource names service, version and environment, and not the command line', () => {
    expect(resource).toMatchObject({
      'service.name': 'echo',
      'service.version': '1.2.3',
      'deployment.environment.name': 'development',
      'host.name': 'h1',
    })
    expect(Object.keys(resource).filter((key) => key.startsWith('process.'))).toEqual([])
  })
})

test('without an endpoint nothing of the SDK is loaded and there is no trace', async () => {
  const saw = await runFixture({})
  expect(saw).toEqual({
    enabled: false,
    instrumented: false,
    outside: null,
    sampledRoots: 0,
    sdkModules: [],
  })
})

// Nobody listens there: each of these runs also shows that a dead collector fails nothing.
const quiet = { OTEL_TRACES_EXPORTER: 'zipkin', OTEL_EXPORTER_ZIPKIN_ENDPOINT: 'http://127.0.0.1:1' }

test('new traces are sampled by environment, traces that came in as their parent was', async () => {
  const development = await runFixture(quiet)
  expect(development.sampledRoots).toBe(200)
  const production = await runFixture(quiet, { environment: 'production' })
  expect(production.sampledRoots).toBeLessThan(20)
  expect(production.inHandler.traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-\w{16}-01$/)
})

test('OTEL_TRACES_SAMPLER wins over the environment', async () => {
  const saw = await runFixture({ ...quiet, OTEL_TRACES_SAMPLER: 'always_on' }, { environment: 'production' })
  expect(saw.sampledRoots).toBe(200)
})

test('without the hook calls have no spans, and tracing says so', async () => {
  const saw = await runFixture(quiet, { hook: false })
  expect(saw).toMatchObject({ enabled: true, instrumented: false })
  expect(saw.inHandler).toBeUndefined()
})
