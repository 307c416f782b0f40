type Environment = Readonly<Record<string, string | undefined>>

const EXPORTERS = ['otlp', 'zipkin', 'console', 'none']
const PROPAGATORS = ['tracecontext', 'baggage', 'b3', 'b3multi', 'none']

/**
 * Whether the standard `OTEL_*` variables ask for traces. Without an exporter and without an endpoint they do not:
 * OpenTelemetry itself would send to localhost. Throws a RangeError for a name that the SDK would drop silently.
 */
export function tracingEnabled(env: Environment): boolean {
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return false
  const exporters = names(env, 'OTEL_TRACES_EXPORTER', EXPORTERS, 'Jaeger takes otlp')
  names(env, 'OTEL_PROPAGATORS', PROPAGATORS)
  if (exporters.length > 0) return !exporters.includes('none')
  return Boolean(env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT)
}

function names(env: Environment, variable: string, known: readonly string[], hint?: string): string[] {
  const given = (env[variable] ?? '').split(',').flatMap((name) => name.trim() || [])
  const unknown = given.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    const advice = hint ? `; ${hint}` : ''
    throw new RangeError(`${variable} has ${unknown.join(', ')}: write one of ${known.join(', ')}${advice}`)
  }
  return given
}
