import { monitorEventLoopDelay } from 'node:perf_hooks'
import { collectDefaultMetrics, type Metric, type OpenMetricsContentType, Registry } from 'prom-client'
import type { MetricSpec } from './catalogue.ts'
import type { GaugeCell, Sample } from './metric-cells.ts'

/** A metric of the catalogue and what it has counted. */
export interface Family {
  readonly spec: MetricSpec
  cells(): readonly { samples(): Sample[] }[]
}

export interface Exposition {
  /** OpenMetrics 1.0 text of `families`, by name, and of the process. */
  render(
    families: ReadonlyMap<string, Family>,
  ): Promise<{ readonly contentType: string; readonly body: string }>
  /** Stops measuring the event loop. */
  stop(): void
}

const LOOP_RESOLUTION_MS = 10

/** Rendered by prom-client's registry. With `lag` it begins to watch the process too, and sets that gauge. */
export function createExposition(lag: GaugeCell | undefined): Exposition {
  const registry = new Registry<OpenMetricsContentType>()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
  const loop = lag && watchLoop(lag)
  if (loop) {
    collectDefaultMetrics({ register: registry })
    for (const name of ABORTING) registry.removeSingleMetric(name)
  }
  return {
    async render(families) {
      for (const [name, family] of families)
        if (!registry.getSingleMetric(name)) registry.registerMetric(exported(name, family))
      loop?.read()
      return { contentType: registry.contentType, body: await registry.metrics() }
    },
    stop: () => loop?.stop(),
  }
}

// These call `process._getActiveHandles`, which aborts the process when it meets a handle that was just collected;
// `nodejs_active_resources` says the same through a public API.
const ABORTING = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
]

function watchLoop(lag: GaugeCell) {
  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  delay.enable()
  return {
    read() {
      // The monitor measures the distance between two ticks of its timer: an idle loop shows the resolution itself.
      const seconds = delay.count === 0 ? 0 : delay.percentile(99) / 1e9 - LOOP_RESOLUTION_MS / 1e3
      lag.set(Math.max(0, seconds))
      delay.reset()
    },
    stop: () => void delay.disable(),
  }
}

function exported(name: string, { spec: { type, help }, cells }: Family): Metric {
  // In OpenMetrics the family of a counter has no `_total`; the registry adds it to each sample.
  const family = type === 'counter' ? name.replace(/_total$/, '') : name
  const get = async () => ({
    name: family,
    help,
    type,
    aggregator: 'sum',
    values: cells().flatMap((cell) => cell.samples()),
  })
  // The registry uses nothing of a metric but its name and `get`.
  return { name, get } as unknown as Metric
}
