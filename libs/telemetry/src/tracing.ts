import {
  type Attributes,
  context,
  DiagLogLevel,
  diag,
  isSpanContextValid,
  type Span,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { redactText } from './redact.ts'
import type { Logger } from './silent-logger.ts'
import { HOOKED } from './tracing-hook.ts'
import { tracingEnabled } from './tracing-plan.ts'

export type DeploymentEnvironment = 'development' | 'staging' | 'production'

const SAMPLED_RATIO: Record<DeploymentEnvironment, number> = {
  development: 1,
  staging: 0.1,
  production: 0.01,
}

const SHUTDOWN_MS = 2_000

export interface TracingOptions {
  readonly service: string
  readonly version: string
  /** Sets the sampled share of new traces, unless `OTEL_TRACES_SAMPLER` does: 1, 0.1 or 0.01. */
  readonly environment: DeploymentEnvironment
  /** Told what the exporters complain about, unless `OTEL_LOG_LEVEL` is set. */
  readonly logger?: Logger
}

export interface Tracing {
  readonly enabled: boolean
  /** Whether grpc-js calls get spans: false when tracing is off or `@docmesh/telemetry/register` was not imported. */
  readonly instrumented: boolean
  /** Sends what is buffered and stops, in 2 s at most. A collector that does not answer is logged and fails nothing. */
  shutdown(): Promise<void>
}

/**
 * Starts OpenTelemetry when the standard `OTEL_*` variables ask for it (see `tracingEnabled`) and is free otherwise.
 * Exporter, endpoint, propagators, resource and sampler variables mean what OpenTelemetry says.
 */
export async function startTracing({
  service,
  version,
  environment,
  logger,
}: TracingOptions): Promise<Tracing> {
  if (!tracingEnabled(process.env)) return { enabled: false, instrumented: false, shutdown: async () => {} }

  const [{ NodeSDK }, { GrpcInstrumentation }, resources, { ParentBasedSampler, TraceIdRatioBasedSampler }] =
    await Promise.all([
      import('@opentelemetry/sdk-node'),
      import('@opentelemetry/instrumentation-grpc'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/sdk-trace'),
    ])

  if (logger && !process.env.OTEL_LOG_LEVEL) {
    const report = (message: string, ...details: unknown[]) => logger.warn({ details }, message)
    const ignore = () => {}
    diag.setLogger(
      { error: report, warn: report, info: ignore, debug: ignore, verbose: ignore },
      DiagLogLevel.WARN,
    )
  }
  const sdk = new NodeSDK({
    // Lowest priority: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource: resources.defaultResource().merge(
      resources.resourceFromAttributes({
        'service.name': service,
        'service.version': version,
        'deployment.environment.name': environment,
      }),
    ),
    // The SDK's own default adds the command line, which may hold secrets.
    ...(!process.env.OTEL_NODE_RESOURCE_DETECTORS && {
      resourceDetectors: [resources.envDetector, resources.serviceInstanceIdDetector],
    }),
    ...(!process.env.OTEL_TRACES_SAMPLER && {
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(SAMPLED_RATIO[environment]) }),
    }),
    // Metrics and logs are prom-client's and pino's.
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [new GrpcInstrumentation()],
  })
  sdk.start()
  const shutdown = () =>
    within(SHUTDOWN_MS, sdk.shutdown()).catch((err: unknown) =>
      logger?.warn({ err }, 'the last spans are lost'),
    )
  return { enabled: true, instrumented: HOOKED in globalThis, shutdown }
}

async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`not done after ${timeoutMs} ms`)), timeoutMs)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** The ids of a span, and the same as a W3C `traceparent` for events and jobs. */
export interface TraceContext {
  readonly traceId: string
  readonly spanId: string
  readonly traceparent: string
}

/** The active span, or undefined outside of one and when tracing is off. */
export function currentTraceContext(): TraceContext | undefined {
  const span = trace.getActiveSpan()?.spanContext()
  if (!span || !isSpanContextValid(span)) return undefined
  const { traceId, spanId, traceFlags } = span
  const flags = traceFlags.toString(16).padStart(2, '0')
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` }
}

/** The exemplar of an observation: the ids of the active span if it is sampled, else undefined. */
export function sampledTrace(): { readonly trace_id: string; readonly span_id: string } | undefined {
  const span = trace.getActiveSpan()?.spanContext()
  if (!span || !isSpanContextValid(span) || !(span.traceFlags & TraceFlags.SAMPLED)) return undefined
  return { trace_id: span.traceId, span_id: span.spanId }
}

/**
 * Runs `fn` in a span, which ends with it; what it throws marks the span as failed, redacted, and is thrown on. With a
 * `traceparent` the span continues that trace: one that came with an event or a job.
 */
export function withSpan<T>(
  name: string,
  attributes: Attributes,
  fn: (span: Span) => Promise<T>,
  traceparent?: string,
): Promise<T> {
  const parent = traceparent === undefined ? context.active() : remoteContext(traceparent)
  return trace.getTracer('docmesh').startActiveSpan(name, { attributes }, parent, async (span) => {
    try {
      return await fn(span)
    } catch (error) {
      const { name, message, stack = '' } = error instanceof Error ? error : new Error(String(error))
      span.recordException({ name, message: redactText(message), stack: redactText(stack) })
      span.setStatus({ code: SpanStatusCode.ERROR, message: redactText(message) })
      throw error
    } finally {
      span.end()
    }
  })
}

const TRACEPARENT = /^[\da-f]{2}-(?<traceId>[\da-f]{32})-(?<spanId>[\da-f]{16})-(?<flags>[\da-f]{2})(?:-|$)/

function remoteContext(traceparent: string) {
  const { traceId = '', spanId = '', flags = '0' } = TRACEPARENT.exec(traceparent)?.groups ?? {}
  const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(remote) ? trace.setSpanContext(context.active(), remote) : context.active()
}
