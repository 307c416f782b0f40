import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Member } from '../member.ts'

/** What the xDS face shows: the same snapshot that native watchers get. */
export interface MeshSource {
  members(): readonly Member[]
  policies(): readonly TrafficPolicy[]
  /** Hears of every change of the above, of `settled` and of `policiesPending`. */
  onChange(listener: () => void): () => void
  /**
   * False while the instances are known to be incomplete, as after a restart, when not all have registered again yet:
   * clients that had a state before keep it until this is true. Default: always true.
   */
  settled?(): boolean
  /** True while the policies could not be read: those above are none. Default: always false. */
  policiesPending?(): boolean
}
