import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import { redactText } from '@docmesh/telemetry'
import { EVENT_TYPES } from './event-types.ts'

const MASKED = '[masked]'

/** Fields of events that name a user, or a document, whose name may be that of a person. */
const PERSONAL = new Set(['userId', 'ownerId', 'requestedBy', 'publishedBy', 'name', 'documentName'])

/** An event for operators: who it happened to is masked, and its payload is only in the masked JSON. */
export const maskedEnvelope = (event: EventEnvelope): EventEnvelope => ({
  ...event,
  userId: event.userId && MASKED,
  payload: Buffer.alloc(0),
})

/** The payload as proto3 JSON, masked; '' when it was erased, or this version does not know what it is. */
export function payloadJson({ type, payload }: EventEnvelope): string {
  const known = EVENT_TYPES.get(type)
  if (!known || payload.length === 0) return ''
  try {
    return JSON.stringify(known.toJSON(known.decode(payload) as never), mask)
  } catch {
    return '' // what cannot be decoded cannot be masked either
  }
}

function mask(field: string, value: unknown): unknown {
  if (typeof value !== 'string') return value
  return PERSONAL.has(field) ? value && MASKED : redactText(value)
}
