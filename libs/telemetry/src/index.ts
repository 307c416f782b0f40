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
export type {
  CounterCell,
  ExemplarLabels,
  GaugeCell,
  HistogramCell,
  HistogramSummary,
} from './metric-cells.ts'
export { createMetrics, type Metered, type Metrics, type MetricsOptions } from './metrics.ts'
export { redact, redactText } from './redact.ts'
export { type Logger, type LogLevel, type LogMethod, silentLogger } from './silent-logger.ts'
