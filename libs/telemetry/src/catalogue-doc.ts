import { writeFileSync } from 'node:fs'
import type { MetricSpec } from './catalogue.ts'
import { catalogue } from './catalogue.ts'

/** Renders a catalogue as `docs/metrics.md`. */
export function renderCatalogue(metrics: Readonly<Record<string, MetricSpec>>): string {
  const sections = Object.entries(metrics).map(([name, spec]) => renderMetric(name, spec))
  return `# Metrics

Generated from \`libs/telemetry/src/catalogue.ts\` by \`node libs/telemetry/src/catalogue-doc.ts\`; a test compares the two.
\`/metrics\` on the admin port answers them as OpenMetrics text, together with the process metrics of prom-client.
A label value that is not listed, or one more than the bound, is counted as \`other\`.

${sections.join('\n')}`
}

function renderMetric(name: string, { type, unit, help, labels, buckets }: MetricSpec): string {
  const lines = Object.entries(labels).map(([label, values]) => {
    const allowed =
      'upTo' in values ? `up to ${values.upTo} ${values.of}` : values.map((v) => `\`${v}\``).join(', ')
    return `- \`${label}\`: ${allowed}\n`
  })
  if (buckets) lines.push(`- buckets: ${buckets.join(', ')}\n`)
  return `## ${name}\n\n${type}, ${unit}. ${help}\n${lines.length > 0 ? '\n' : ''}${lines.join('')}`
}

if (import.meta.main) {
  writeFileSync(new URL('../../../docs/metrics.md', import.meta.url), renderCatalogue(catalogue))
}
