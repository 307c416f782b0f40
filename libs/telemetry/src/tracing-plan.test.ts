import { expect, test } from 'vitest'
import { tracingEnabled } from './tracing-plan.ts'

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }

test.each([
  [{}, false],
  [endpoint, true],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318/v1/traces' }, true],
  [{ OTEL_TRACES_EXPORTER: 'console' }, true],
  [{ OTEL_TRACES_EXPORTER: 'otlp,zipkin' }, true],
  [{ ...endpoint, OTEL_TRACES_EXPORTER: 'none' }, false],
  [{ ...endpoint, OTEL_SDK_DISABLED: 'true' }, false],
  [{ ...endpoint, OTEL_PROPAGATORS: 'tracecontext, b3' }, true],
])('with %j tracing is %j', (env, enabled) => {
  expect(tracingEnabled(env)).toBe(enabled)
})

test.each([
  [
    { OTEL_TRACES_EXPORTER: 'jaeger' },
    /OTEL_TRACES_EXPORTER has jaeger: write one of otlp, .+; Jaeger takes otlp/,
  ],
  [{ OTEL_PROPAGATORS: 'tracecontext,jaeger' }, /OTEL_PROPAGATORS has jaeger: write one of tracecontext, /],
])('refuses %j, which OpenTelemetry would ignore, and says what to write', (env, message) => {
  expect(() => tracingEnabled(env)).toThrow(message)
})
