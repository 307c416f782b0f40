import { AnalysisCompleted } from '@docmesh/contracts/analysis/v1/events'
import type { Events, Subscription } from '@docmesh/events'

/** Counts analyses by verdict, each once: the handler's queries and the note that the event is dealt with are one. */
export const tallyVerdicts = ({ subscribe }: Events): Subscription =>
  subscribe({
    subscriber: 'statistics',
    events: [AnalysisCompleted],
    handler: async ({ payload: { verdict } }, tx) => {
      await tx.query(
        `insert into verdicts values ($1, 1) on conflict (verdict) do update set analyses = verdicts.analyses + 1`,
        [verdict],
      )
    },
  })
