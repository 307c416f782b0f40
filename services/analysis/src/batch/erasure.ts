import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import type { Events, Subscription } from '@docmesh/events'
import type { Batches } from './batches.ts'

/** When a document is erased its analyses are gone without an end; the batches they belong to go on without them. */
export const subscribeBatchErasure = ({ subscribe }: Events, batches: Batches): Subscription =>
  subscribe({
    subscriber: 'analysis-batches',
    events: [DocumentErased],
    handler: ({ payload }, tx) => batches.onErased(tx, payload.documentId),
  })
