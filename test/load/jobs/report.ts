export interface Row {
  readonly bench: 'jobs'
  readonly contender: string
  readonly [figure: string]: unknown
}

export const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits))

export const median = (numbers: readonly number[]): number => quantile(numbers, 0.5)

/** Of numbers in any order. NaN without any. */
export function quantile(numbers: readonly number[], q: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}

/** Columns as wide as what stands in them; what a row has not is a dash. */
export function table(rows: readonly Row[], columns: readonly string[]): string {
  const text = (value: unknown): string => (value === undefined || value === null ? '–' : String(value))
  const lines = [columns, ...rows.map((row) => columns.map((column) => text(row[column])))]
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)))
  const pad = (cell: string, at: number): string =>
    at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)
  return lines.map((line) => line.map(pad).join('  ')).join('\n')
}
