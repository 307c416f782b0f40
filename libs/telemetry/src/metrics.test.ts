import { expect, onTestFinished, test } from 'vitest'
import { createMetrics } from './metrics.ts'

function open(processMetrics = false) {
  const metrics = createMetrics({ service: 'document', version: '1.2.3', processMetrics })
  onTestFinished(metrics.stop)
  return metrics
}

async function lines(metrics: ReturnType<typeof open>, name: string) {
  const { body } = await metrics.render()
  return body.split('\n').filter((line) => line.startsWith(name))
}

const call = { grpc_service: 'docmesh.document.v1.DocumentService', grpc_method: 'GetDocument' }

test('counts by labels and through a bound cell alike', async () => {
  const metrics = open()
  const handled = metrics.counter('grpc_server_handled_total')
  handled.inc({ ...call, grpc_code: 'OK' })
  const bound = handled.labels({ grpc_code: 'OK', ...call })
  bound.inc()
  bound.inc(3)
  expect(await lines(metrics, 'grpc_server_handled')).toEqual([
    'grpc_server_handled_total{grpc_service="docmesh.document.v1.DocumentService",grpc_method="GetDocument",grpc_code="OK"} 5',
  ])
})

test('refuses to lower a counter or to observe what is not a number', () => {
  const metrics = open()
  const kills = metrics.counter('docmesh_document_extraction_kills_total')
  expect(() => kills.inc({ reason: 'memory' }, -1)).toThrow(RangeError)
  expect(() => metrics.histogram('docmesh_document_upload_bytes').observe(Number.NaN)).toThrow(RangeError)
})

test('sets, raises and lowers a gauge', async () => {
  const metrics = open()
  const watchers = metrics.gauge('docmesh_registry_watchers')
  watchers.set(5)
  watchers.inc(2)
  watchers.dec()
  expect(await lines(metrics, 'docmesh_registry_watchers')).toEqual(['docmesh_registry_watchers 6'])
})

test('puts each observation in its bucket, bounds included, and renders cumulative buckets', async () => {
  const metrics = open()
  const score = metrics.histogram('docmesh_analysis_conformity_score')
  for (const value of [10, 10.5, 99, 1000]) score.observe(value)
  const rendered = await lines(metrics, 'docmesh_analysis_conformity_score')
  expect(rendered).toContain('docmesh_analysis_conformity_score_bucket{le="10"} 1')
  expect(rendered).toContain('docmesh_analysis_conformity_score_bucket{le="20"} 2')
  expect(rendered).toContain('docmesh_analysis_conformity_score_bucket{le="100"} 3')
  expect(rendered).toContain('docmesh_analysis_conformity_score_bucket{le="+Inf"} 4')
  expect(rendered).toContain('docmesh_analysis_conformity_score_sum 1119.5')
  expect(rendered).toContain('docmesh_analysis_conformity_score_count 4')
})

test('keeps the exemplar of the moment in the bucket of the observation', async () => {
  let trace: string | undefined = 't1'
  const metrics = createMetrics({
    service: 'document',
    version: '1.2.3',
    processMetrics: false,
    exemplar: () => (trace ? { trace_id: trace } : undefined),
  })
  const score = metrics.histogram('docmesh_analysis_conformity_score')
  score.observe(15)
  trace = undefined
  score.observe(25)
  const rendered = await lines(metrics, 'docmesh_analysis_conformity_score_bucket')
  expect(rendered.filter((line) => line.includes('# {'))).toEqual([
    expect.stringMatching(
      /^docmesh_analysis_conformity_score_bucket\{le="20"\} 1 # \{trace_id="t1"\} 15 [\d.]+$/,
    ),
  ])
})

test('shows a metric that is asked for after the first scrape', async () => {
  const metrics = open()
  await metrics.render()
  metrics.gauge('docmesh_registry_watchers').set(2)
  expect(await lines(metrics, 'docmesh_registry_watchers')).toEqual(['docmesh_registry_watchers 2'])
})

test('counts a label value outside the list as other', async () => {
  const metrics = open()
  const uploads = metrics.counter('docmesh_document_uploads_total')
  uploads.inc({ media_type: 'application/x-evil-1', outcome: 'rejected' })
  uploads.inc({ media_type: 'application/x-evil-2', outcome: 'rejected' })
  expect(await lines(metrics, 'docmesh_document_uploads')).toEqual([
    'docmesh_document_uploads_total{media_type="other",outcome="rejected"} 2',
  ])
})

test('counts the values beyond the bound of a label as other', async () => {
  const metrics = open()
  const picks = metrics.counter('docmesh_mesh_picks_total')
  for (let i = 0; i < 1_000; i++) picks.inc({ service: `s${i}` })
  const rendered = await lines(metrics, 'docmesh_mesh_picks')
  expect(rendered).toHaveLength(65)
  expect(rendered.at(-1)).toBe('docmesh_mesh_picks_total{service="other"} 936')
})

test('knows no metric outside the catalogue, no other type and no other label', () => {
  const metrics = open()
  // @ts-expect-error: not in the catalogue
  expect(() => metrics.counter('docmesh_unknown_total')).toThrow(RangeError)
  // @ts-expect-error: a histogram
  expect(() => metrics.counter('grpc_server_handling_seconds')).toThrow(RangeError)
  // @ts-expect-error: a label is missing
  metrics.counter('grpc_server_handled_total').labels({ grpc_service: 'x', grpc_code: 'OK' })
  // @ts-expect-error: no such label
  metrics.counter('docmesh_mesh_picks_total').labels({ service: 'x', pod: 'y' })
  // @ts-expect-error: takes no labels
  expect(() => metrics.gauge('docmesh_registry_revision').labels({})).toThrow(TypeError)
})

test('renders OpenMetrics with build information and ends it', async () => {
  const { contentType, body } = await open().render()
  expect(contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
  expect(body).toContain('docmesh_build_info{service="document",version="1.2.3"} 1')
  expect(body.endsWith('# EOF\n')).toBe(true)
})

test('names counters as OpenMetrics wants, on every scrape', async () => {
  const metrics = open(true)
  metrics.counter('docmesh_mesh_picks_total').inc({ service: 'document' })
  await metrics.render()
  const { body } = await metrics.render()
  expect(body).toContain('# TYPE docmesh_mesh_picks counter\ndocmesh_mesh_picks_total{service="document"} 1')
  expect(body).toMatch(/^process_cpu_seconds_total [\d.]+$/m)
})

test('shows by how much the event loop is late', async () => {
  const metrics = open(true)
  const lag = async () => Number((await lines(metrics, 'docmesh_event_loop_lag_seconds'))[0]?.split(' ')[1])
  expect(await lag()).toBe(0)
  for (let i = 0; i < 5; i++) {
    const until = performance.now() + 40
    while (performance.now() < until);
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await lag()).toBeGreaterThan(0.02)
  expect(await lag()).toBe(0)
})

test('leaves out the process metrics that may abort the process', async () => {
  const { body } = await open(true).render()
  expect(body).toContain('nodejs_active_resources_total')
  expect(body).not.toMatch(/nodejs_active_(handles|requests)/)
})

test('summarises histograms by quantiles of their buckets', () => {
  const metrics = open()
  const score = metrics.histogram('docmesh_analysis_conformity_score')
  metrics.histogram('docmesh_document_upload_bytes')
  for (let value = 1; value <= 100; value++) score.observe(value)
  expect(metrics.summary()).toEqual([
    {
      name: 'docmesh_analysis_conformity_score',
      labels: {},
      count: 100,
      sum: 5050,
      p50: 50,
      p95: 95,
      p99: 99,
    },
  ])
})
