import { AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { eventually } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { analyze, fixture, upload } from './analyze.ts'
import { type Fleet, START_MS, startFleet } from './fleet.ts'

let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet()
}, START_MS)
afterAll(() => fleet?.[Symbol.asyncDispose]())

it('one analysis can be followed in the metrics of the services that did it', async () => {
  const scrape = async (service: 'document' | 'analysis' | 'notification'): Promise<string> =>
    (await fetch(`http://${fleet.one(service).adminAddress}/metrics`)).text()
  const document = await upload(fleet.mesh, 'contract.pdf', fixture('sample-contract.pdf'))
  expect((await analyze(fleet.mesh, document.id, 'r1')).state).toBe(AnalysisState.COMPLETED)

  await eventually(async () => {
    const [documents, analyses, notifications] = await Promise.all([
      scrape('document'),
      scrape('analysis'),
      scrape('notification'),
    ])
    expect(documents).toMatch(
      /docmesh_document_uploads_total\{media_type="application\/pdf",outcome="stored"\} 1/,
    )
    expect(documents).toMatch(
      /grpc_server_handled_total\{grpc_service="docmesh.document.v1.DocumentService",grpc_method="ExtractText",grpc_code="OK"\} 1/,
    )
    expect(documents).toMatch(/docmesh_postgres_pool_connections\{state="idle"\} \d/)
    expect(analyses).toMatch(
      /docmesh_events_published_total\{type="docmesh.analysis.v1.AnalysisCompleted"\} 1/,
    )
    expect(analyses).toMatch(/docmesh_mesh_endpoints\{service="document",state="ready"\} 1/)
    expect(analyses).toMatch(/docmesh_analysis_conformity_score_count 1/)
    expect(notifications).toMatch(
      /docmesh_events_handled_total\{subscriber="notification[^}]*outcome="success"\} 1/,
    )
  })
})
