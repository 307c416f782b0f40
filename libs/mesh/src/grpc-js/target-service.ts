import type { RefusalReason } from '../decision-log.ts'
import type { SharedService } from '../service.ts'

/** A service as all calls to it from this process share it, whatever channel they go through. */
export interface TargetService extends SharedService {
  readonly name: string
  readonly count: TargetCounts
}

export interface TargetCounts {
  picked(): void
  retried(outcome: 'success' | 'failure' | 'refused'): void
  hedged(outcome: 'won' | 'lost' | 'refused'): void
  refused(reason: RefusalReason): void
  /** A connection attempt was given up. */
  discarded(): void
}

export function targetService(name: string, shared: SharedService): TargetService {
  const { metrics } = shared
  const picks = metrics.counter('docmesh_mesh_picks_total').labels({ service: name })
  const retries = metrics.counter('docmesh_mesh_retries_total')
  const hedges = metrics.counter('docmesh_mesh_hedges_total')
  const refused = metrics.counter('docmesh_mesh_refused_total')
  const discarded = metrics.counter('docmesh_mesh_connections_discarded_total')
  return {
    ...shared,
    name,
    count: {
      picked: () => picks.inc(),
      retried: (outcome) => retries.inc({ service: name, outcome }),
      hedged: (outcome) => hedges.inc({ service: name, outcome }),
      refused: (reason) => refused.inc({ service: name, reason }),
      discarded: () => discarded.inc(),
    },
  }
}
