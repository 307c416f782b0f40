import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { catalogue, type MetricSpec } from './catalogue.ts'
import { renderCatalogue } from './catalogue-doc.ts'

const specs = Object.entries<MetricSpec>(catalogue)
const doc = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8')

test('docs/metrics.md has every metric of the catalogue and no other', () => {
  const documented = [...doc.matchAll(/^## (\w+)$/gm)].map(([, name]) => name)
  expect(documented).toEqual(specs.map(([name]) => name))
})

test('docs/metrics.md is what the catalogue renders', () => {
  expect(doc, 'run: node libs/telemetry/src/catalogue-doc.ts').toBe(renderCatalogue(catalogue))
})

test.each(specs)(
  '%s has a standard name, a sentence of help, and buckets exactly if it is a histogram',
  (name, spec) => {
    expect(name).toMatch(/^(docmesh|grpc_server|grpc_client)_[a-z_]+[a-z]$/)
    expect(name.endsWith('_total')).toBe(spec.type === 'counter')
    expect(spec.help).toMatch(/^[A-Z].+\.$/)
    const { buckets } = spec
    expect(buckets !== undefined).toBe(spec.type === 'histogram')
    expect(buckets).toEqual(buckets && [...new Set(buckets)].toSorted((a, b) => a - b))
  },
)
