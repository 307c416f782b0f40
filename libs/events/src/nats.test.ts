import { expect, it } from 'vitest'
import { durableName } from './nats.ts'

it('makes a durable name of a subscriber and an event type, without what NATS forbids', () => {
  expect(durableName('analysis', 'docmesh.document.v1.DocumentCreated')).toBe(
    'analysis_docmesh_document_v1_DocumentCreated',
  )
  expect(durableName('a.b >*', 'x')).toMatch(/^[A-Za-z0-9_-]+$/)
})
