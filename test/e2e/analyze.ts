import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Analysis, AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { type Document, DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import type { Mesh } from '@docmesh/mesh'

const root = join(import.meta.dirname, '../..')
const CHUNK_BYTES = 64 * 1024

export const fixture = (name: string): Buffer => readFileSync(join(root, 'services/document/fixtures', name))

export async function upload(mesh: Mesh, name: string, bytes: Buffer): Promise<Document> {
  async function* parts() {
    yield { part: { $case: 'metadata', value: { name } } } as const
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      yield { part: { $case: 'chunk', value: bytes.subarray(at, at + CHUNK_BYTES) } } as const
    }
  }
  const { document } = await mesh.client(DocumentServiceDefinition, 'document').uploadDocument(parts())
  if (!document) throw new Error('the upload returned no document')
  return document
}

/** Starts an analysis and follows it to its end; a watch that breaks is opened again. */
export async function analyze(mesh: Mesh, documentId: string, requestId: string): Promise<Analysis> {
  const client = mesh.client(AnalysisServiceDefinition, 'analysis')
  const { analysis } = await client.startAnalysis({
    documentId,
    requestId,
    options: { notify: true, locale: 'en' },
  })
  let last = analysis
  for (let watches = 0; watches < 20; watches++) {
    try {
      for await (const update of client.watchAnalysis({ analysisId: analysis?.id ?? '' }))
        last = update.analysis ?? last
    } catch {
      continue // the instance that was watched is gone: ask another one
    }
    if (last?.endedAt) return last
  }
  throw new Error(`analysis ${analysis?.id} did not end`)
}
