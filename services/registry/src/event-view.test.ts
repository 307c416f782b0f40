import { AnalysisCompleted, BatchCompleted } from '@docmesh/contracts/analysis/v1/events'
import { DocumentCreated } from '@docmesh/contracts/document/v1/events'
import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import { JobFailed } from '@docmesh/contracts/ops/v1/events'
import { describe, expect, it } from 'vitest'
import { EVENT_TYPES, fullNames } from './event-types.ts'
import { maskedEnvelope, payloadJson } from './event-view.ts'

const envelope = <T>(
  type: { $type: string; encode(message: T): { finish(): Uint8Array } },
  payload: T,
): EventEnvelope =>
  EventEnvelope.fromPartial({
    id: 'e1',
    type: type.$type,
    userId: 'maria',
    payload: Buffer.from(type.encode(payload).finish()),
  })

describe('the payload of an event for operators', () => {
  it('is proto3 JSON without names of users and documents', () => {
    const event = envelope(
      AnalysisCompleted,
      AnalysisCompleted.fromPartial({
        analysisId: 'a1',
        documentName: 'Maria Silva.pdf',
        requestedBy: 'maria',
        score: 80,
      }),
    )
    expect(JSON.parse(payloadJson(event))).toEqual({
      analysisId: 'a1',
      documentName: '[masked]',
      requestedBy: '[masked]',
      score: 80,
    })
    expect(maskedEnvelope(event)).toEqual({ ...event, userId: '[masked]', payload: Buffer.alloc(0) })
  })

  it('has no address and no taxpayer number in what others wrote', () => {
    const failed = JobFailed.fromPartial({ jobId: 'j1', error: 'maria@example.org, CPF 529.982.247-25' })
    expect(JSON.parse(payloadJson(envelope(JobFailed, failed)))).toEqual({
      jobId: 'j1',
      error: '[email], CPF [cpf]',
    })
  })

  it('hides every field of the contracts that names a user or a document', () => {
    for (const [name, type] of EVENT_TYPES) {
      const { create, encode } = type as unknown as typeof DocumentCreated
      const message = Object.fromEntries(
        Object.entries(create()).map(([field, value]) => [field, value === '' ? 'Maria' : value]),
      )
      const shown = JSON.parse(
        payloadJson(envelope({ $type: name, encode }, message as unknown as DocumentCreated)) || '{}',
      )
      for (const [field, value] of Object.entries(shown))
        if (/user|owner|By$|^name$|document_?name/i.test(field))
          expect(`${name}.${field} ${value}`).toContain('[masked]')
    }
    const shown = JSON.parse(
      payloadJson(envelope(BatchCompleted, BatchCompleted.fromPartial({ name: 'Maria' }))),
    )
    expect(shown).toEqual({ name: '[masked]' })
  })

  it('is empty for what was erased, what is unknown, and what cannot be decoded', () => {
    const event = envelope(DocumentCreated, DocumentCreated.fromPartial({ documentId: 'd1' }))
    expect(payloadJson({ ...event, payload: Buffer.alloc(0) })).toBe('')
    expect(payloadJson({ ...event, type: 'docmesh.gone.v1.Gone' })).toBe('')
    expect(payloadJson({ ...event, payload: Buffer.of(0x0a, 0xff) })).toBe('')
  })
})

describe('the name of an event', () => {
  it('may be short, and is taken as it is when it is full', () => {
    expect(fullNames(['AnalysisCompleted', 'docmesh.gone.v1.Gone'])).toEqual([
      AnalysisCompleted.$type,
      'docmesh.gone.v1.Gone',
    ])
  })

  it('is refused when it is short and no event has it', () => {
    expect(() => fullNames(['AnalysisDone'])).toThrow('types: no event is called "AnalysisDone"')
  })
})
