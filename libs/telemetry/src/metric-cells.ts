import { bucketQuantile } from './quantile.ts'

/** One number that only grows. */
export interface CounterCell {
  /** Adds `by`, default 1. */
  inc(by?: number): void
}

/** One number that goes up and down. */
export interface GaugeCell {
  set(value: number): void
  inc(by?: number): void
  dec(by?: number): void
}

/** One distribution. */
export interface HistogramCell {
  /** Counts `value`, given in the unit of the metric, and remembers the exemplar of the moment. */
  observe(value: number): void
}

export type Labels = Readonly<Record<string, string>>

/** The labels of an exemplar, or undefined when there is nothing to remember. Asked at each observation. */
export type ExemplarLabels = () => Labels | undefined

/** A line of the exposition, in the shape that prom-client's registry renders. */
export interface Sample {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  readonly exemplar?: Exemplar | undefined
}

interface Exemplar {
  readonly labelSet: Labels
  readonly value: number
  readonly timestamp: number
}

export interface HistogramSummary {
  readonly name: string
  readonly labels: Labels
  readonly count: number
  readonly sum: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

export function counterCell(_name: string, labels: Labels) {
  let value = 0
  return {
    inc(by = 1) {
      if (!(by >= 0)) throw new RangeError(`a counter cannot grow by ${by}`)
      value += by
    },
    samples: (): Sample[] => [{ labels, value }],
  }
}

export function gaugeCell(_name: string, labels: Labels) {
  let value = 0
  return {
    set(to: number) {
      value = to
    },
    inc(by = 1) {
      value += by
    },
    dec(by = 1) {
      value -= by
    },
    samples: (): Sample[] => [{ labels, value }],
  }
}

export function histogramCell(
  name: string,
  labels: Labels,
  bounds: readonly number[],
  exemplar: ExemplarLabels,
) {
  const counts = new Float64Array(bounds.length + 1)
  const exemplars: (Exemplar | undefined)[] = Array.from(counts, () => undefined)
  let count = 0
  let sum = 0

  return {
    observe(value: number) {
      if (!Number.isFinite(value)) throw new RangeError(`${name} cannot observe ${value}`)
      let i = 0
      while (value > (bounds[i] ?? Number.POSITIVE_INFINITY)) i++
      counts[i] = (counts[i] ?? 0) + 1
      count += 1
      sum += value
      const labelSet = exemplar()
      if (labelSet) exemplars[i] = { labelSet, value, timestamp: Date.now() / 1000 }
    },
    samples(): Sample[] {
      let cumulative = 0
      const buckets = Array.from(counts, (n, i) => {
        cumulative += n
        const le = bounds[i] ?? '+Inf'
        return {
          metricName: `${name}_bucket`,
          labels: { ...labels, le },
          value: cumulative,
          exemplar: exemplars[i],
        }
      })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ]
    },
    summary(): HistogramSummary[] {
      const p50 = bucketQuantile(0.5, bounds, counts)
      const p95 = bucketQuantile(0.95, bounds, counts)
      const p99 = bucketQuantile(0.99, bounds, counts)
      if (p50 === undefined || p95 === undefined || p99 === undefined) return []
      return [{ name, labels, count, sum, p50, p95, p99 }]
    },
  }
}
