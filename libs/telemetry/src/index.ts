export {
  catalogue,
  type LabelBound,
  type MetricLabels,
  type MetricName,
  type MetricSpec,
  type MetricType,
} from './catalogue.ts'
export {
  type CheckResult,
  createHealth,
  type Health,
  type HealthCheck,
  type HealthOptions,
  type HealthReport,
  type HealthState,
} from './health.ts'
export {
  createLogger,
  type LogDestination,
  type Logger,
  type LoggerOptions,
  type LogLevel,
  type LogMethod,
  silentLogger,
} from './logger.ts'
export type { CounterCell, GaugeCell, HistogramCell, HistogramSummary } from './metric-cells.ts'
export { createMetrics, type Metered, type Metrics, type MetricsOptions } from './metrics.ts'
export { redact, redactText } from './redact.ts'
export {
  currentTraceContext,
  type DeploymentEnvironment,
  startTracing,
  type TraceContext,
  type Tracing,
  type TracingOptions,
  withSpan,
} from './tracing.ts'
export { tracingEnabled } from './tracing-plan.ts'
