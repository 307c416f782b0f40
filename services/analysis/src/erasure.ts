import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import type { Events, Subscription } from '@docmesh/events'
import type { AnalysisStore } from './store.ts'

/** When a document is erased, what was derived from it goes too: its analyses, and what their events say. */
export const subscribeErasure = ({ subscribe, erase }: Events, store: AnalysisStore): Subscription =>
  subscribe({
    subscriber: 'analysis',
    events: [DocumentErased],
    handler: async ({ payload }, tx) => {
      for (const id of await store.eraseDocument(tx, payload.documentId)) await erase(tx, 'analysis', id)
    },
  })
