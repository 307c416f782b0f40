import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import type { Events, Subscription } from '@docmesh/events'
import type { Workflows } from '@docmesh/workflow'
import type { AnalysisStore } from './store.ts'
import type { Texts } from './texts.ts'

/**
 * When a document is erased, what was derived from it goes too: its analyses, and what their events say. Their runs stop;
 * what stays of them names an analysis that is gone, and holds nothing of the document.
 */
export const subscribeErasure = (
  { subscribe, erase }: Pick<Events, 'subscribe' | 'erase'>,
  { store, workflows, texts }: { store: AnalysisStore; workflows: Pick<Workflows, 'cancel'>; texts: Texts },
): Subscription =>
  subscribe({
    subscriber: 'analysis',
    events: [DocumentErased],
    handler: async ({ payload }, tx) => {
      const ids = await store.ofDocument(tx, payload.documentId)
      // Before their rows, in the order in which an execution takes the two locks.
      for (const id of ids) await workflows.cancel(id, tx)
      await store.erase(tx, ids)
      for (const id of ids) {
        texts.forget(id)
        await erase(tx, 'analysis', id)
      }
    },
  })
