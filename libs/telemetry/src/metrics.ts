import { monitorEventLoopDelay } from 'node:perf_hooks'
import { collectDefaultMetrics, type Metric, type OpenMetricsContentType, Registry } from 'prom-client'
import {
  catalogue,
  type MetricLabels,
  type MetricName,
  type MetricSpec,
  type MetricType,
} from './catalogue.ts'
import {
  type CounterCell,
  counterCell,
  type GaugeCell,
  gaugeCell,
  type HistogramCell,
  type HistogramSummary,
  histogramCell,
  type Labels,
  type Sample,
} from './metric-cells.ts'

const LOOP_RESOLUTION_MS = 10

/** A metric without labels is its only cell; one with labels takes them first, or binds them with `labels()`. */
export type Metered<L, Cell> = keyof L extends never
  ? Cell
  : { labels(labels: L): Cell } & {
      [Verb in keyof Cell]: Cell[Verb] extends (...args: infer A) => void
        ? (labels: L, ...args: A) => void
        : never
    }

export interface Metrics {
  /** Metrics of the catalogue. On a hot path keep the cell that `labels()` returns: using it allocates nothing. */
  counter<N extends MetricName<'counter'>>(name: N): Metered<MetricLabels<N>, CounterCell>
  gauge<N extends MetricName<'gauge'>>(name: N): Metered<MetricLabels<N>, GaugeCell>
  histogram<N extends MetricName<'histogram'>>(name: N): Metered<MetricLabels<N>, HistogramCell>
  /** OpenMetrics 1.0 text with exemplars. A metric appears once it was asked for. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>
  /** Quantiles of every histogram that has counted something, from its buckets. */
  summary(): HistogramSummary[]
  /** Stops measuring the event loop. */
  stop(): void
}

export interface MetricsOptions {
  readonly service: string
  readonly version: string
  /** CPU, memory, handles, garbage collection and event loop of the process; default true. */
  readonly processMetrics?: boolean
}

/**
 * The metrics of one process: typed by the catalogue, counted in cells of our own, because a bound child of
 * prom-client still hashes its labels on every call, and rendered by prom-client's registry.
 */
export function createMetrics({ service, version, processMetrics = true }: MetricsOptions): Metrics {
  const registry = new Registry<OpenMetricsContentType>()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
  const families = new Map<MetricName, Family>()

  const open = (type: MetricType, name: MetricName) => {
    let family = families.get(name)
    if (!family) {
      const spec: MetricSpec | undefined = catalogue[name]
      if (spec?.type !== type) throw new RangeError(`the catalogue has no ${type} named ${name}`)
      family = createFamily(name, spec)
      families.set(name, family)
      registry.registerMetric(exported(name, spec, family))
    }
    // The catalogue's types say which verbs this handle has; `createFamily` made it for the same entry.
    return family.handle as never
  }

  const metrics: Metrics = {
    counter: (name) => open('counter', name),
    gauge: (name) => open('gauge', name),
    histogram: (name) => open('histogram', name),
    render: async () => {
      loop?.read()
      return { contentType: registry.contentType, body: await registry.metrics() }
    },
    summary: () =>
      [...families.values()].flatMap(({ cells }) => cells().flatMap((cell) => cell.summary?.() ?? [])),
    stop: () => loop?.stop(),
  }
  metrics.gauge('docmesh_build_info').set({ service, version }, 1)
  const loop = processMetrics ? watchLoop(metrics.gauge('docmesh_event_loop_lag_seconds')) : undefined
  if (processMetrics) {
    collectDefaultMetrics({ register: registry })
    for (const name of ABORTING) registry.removeSingleMetric(name)
  }
  return metrics
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

type Cell = { samples(): Sample[]; summary?(): HistogramSummary[] } & {
  [verb: string]: (value?: number) => unknown
}

interface Family {
  readonly handle: object
  cells(): Cell[]
}

const VERBS = { counter: ['inc'], gauge: ['set', 'inc', 'dec'], histogram: ['observe'] } as const
const createCell = { counter: counterCell, gauge: gaugeCell, histogram: histogramCell }

function createFamily(name: string, spec: MetricSpec): Family {
  const limits = Object.entries(spec.labels).map(([label, values]) => [label, limitValues(values)] as const)
  const byValues = new Map<string, Cell>()

  const bind = (labels: Labels): Cell => {
    let key = ''
    for (const [label, limit] of limits) key += `${limit(labels[label] ?? '')}\0`
    let cell = byValues.get(key)
    if (!cell) {
      const own = Object.fromEntries(limits.map(([label, limit]) => [label, limit(labels[label] ?? '')]))
      cell = createCell[spec.type](name, own, spec.buckets ?? []) as unknown as Cell
      byValues.set(key, cell)
    }
    return cell
  }

  const verbs = VERBS[spec.type].map((verb) => [
    verb,
    (labels: Labels, value?: number) => bind(labels)[verb]?.(value),
  ])
  const handle = limits.length === 0 ? bind({}) : { labels: bind, ...Object.fromEntries(verbs) }
  return { handle, cells: () => [...byValues.values()] }
}

/** Maps a value that is not allowed, or one too many, to `other`. */
function limitValues(values: MetricSpec['labels'][string]): (value: string) => string {
  const allowed = new Set('upTo' in values ? [] : values)
  const room = 'upTo' in values ? values.upTo : 0
  return (value) => {
    if (allowed.has(value)) return value
    if (allowed.size >= room) return 'other'
    allowed.add(value)
    return value
  }
}

function exported(name: string, { type, help }: MetricSpec, { cells }: Family): Metric {
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
