import {
  catalogue,
  type MetricLabels,
  type MetricName,
  type MetricSpec,
  type MetricType,
} from './catalogue.ts'
import type { Exposition, Family } from './exposition.ts'
import {
  type CounterCell,
  counterCell,
  type ExemplarLabels,
  type GaugeCell,
  gaugeCell,
  type HistogramCell,
  type HistogramSummary,
  histogramCell,
  type Labels,
  type Sample,
} from './metric-cells.ts'

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
  /** OpenMetrics 1.0 text with exemplars. A metric appears once it was asked for. Loads prom-client, the first time. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>
  /** Quantiles of every histogram that has counted something, from its buckets. */
  summary(): HistogramSummary[]
  /** Stops measuring the event loop. */
  stop(): void
}

export interface MetricsOptions {
  readonly service: string
  readonly version: string
  /** CPU, memory, handles, garbage collection and event loop, watched from the first `render` on; default true. */
  readonly processMetrics?: boolean
  /** Labels of the sampled trace in progress, which an observation remembers: `sampledTrace`. Default none. */
  readonly exemplar?: ExemplarLabels
}

/**
 * The metrics of one process: typed by the catalogue, counted in cells of our own, because a bound child of
 * prom-client still hashes its labels on every call. A process that shows its metrics to nobody never loads prom-client.
 */
export function createMetrics({
  service,
  version,
  processMetrics = true,
  exemplar = () => undefined,
}: MetricsOptions): Metrics {
  const families = new Map<MetricName, MeteredFamily>()
  let exposition: Promise<Exposition> | undefined

  const open = (type: MetricType, name: MetricName) => {
    let family = families.get(name)
    if (!family) {
      const spec: MetricSpec | undefined = catalogue[name]
      if (spec?.type !== type) throw new RangeError(`the catalogue has no ${type} named ${name}`)
      family = createFamily(name, spec, exemplar)
      families.set(name, family)
    }
    // The catalogue's types say which verbs this handle has; `createFamily` made it for the same entry.
    return family.handle as never
  }

  async function openExposition(): Promise<Exposition> {
    const { createExposition } = await import('./exposition.ts')
    return createExposition(processMetrics ? metrics.gauge('docmesh_event_loop_lag_seconds') : undefined)
  }

  const metrics: Metrics = {
    counter: (name) => open('counter', name),
    gauge: (name) => open('gauge', name),
    histogram: (name) => open('histogram', name),
    render: async () => {
      exposition ??= openExposition()
      return (await exposition).render(families)
    },
    summary: () =>
      [...families.values()].flatMap(({ cells }) => cells().flatMap((cell) => cell.summary?.() ?? [])),
    stop: () => void exposition?.then(({ stop }) => stop()),
  }
  metrics.gauge('docmesh_build_info').set({ service, version }, 1)
  return metrics
}

type Cell = { samples(): Sample[]; summary?(): HistogramSummary[] } & {
  [verb: string]: (value?: number) => unknown
}

interface MeteredFamily extends Family {
  readonly handle: object
  cells(): Cell[]
}

const VERBS = { counter: ['inc'], gauge: ['set', 'inc', 'dec'], histogram: ['observe'] } as const
const createCell = { counter: counterCell, gauge: gaugeCell, histogram: histogramCell }

function createFamily(name: string, spec: MetricSpec, exemplar: ExemplarLabels): MeteredFamily {
  const limits = Object.entries(spec.labels).map(([label, values]) => [label, limitValues(values)] as const)
  const byValues = new Map<string, Cell>()

  const bind = (labels: Labels): Cell => {
    let key = ''
    for (const [label, limit] of limits) key += `${limit(labels[label] ?? '')}\0`
    let cell = byValues.get(key)
    if (!cell) {
      const own = Object.fromEntries(limits.map(([label, limit]) => [label, limit(labels[label] ?? '')]))
      cell = createCell[spec.type](name, own, spec.buckets ?? [], exemplar) as unknown as Cell
      byValues.set(key, cell)
    }
    return cell
  }

  const verbs = VERBS[spec.type].map((verb) => [
    verb,
    (labels: Labels, value?: number) => bind(labels)[verb]?.(value),
  ])
  const handle = limits.length === 0 ? bind({}) : { labels: bind, ...Object.fromEntries(verbs) }
  return { spec, handle, cells: () => [...byValues.values()] }
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
