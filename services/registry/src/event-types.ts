import * as analysis from '@docmesh/contracts/analysis/v1/events'
import * as document from '@docmesh/contracts/document/v1/events'
import * as notification from '@docmesh/contracts/notification/v1/events'
import * as ops from '@docmesh/contracts/ops/v1/events'
import * as registry from '@docmesh/contracts/registry/v1/events'
import { invalidRequest } from '@docmesh/rpc'

interface EventType {
  readonly $type: string
  decode(payload: Uint8Array): unknown
  toJSON(message: never): unknown
}

/** Every event of the contracts, by its full name. */
export const EVENT_TYPES: ReadonlyMap<string, EventType> = new Map(
  [analysis, document, notification, ops, registry]
    .flatMap((events): EventType[] => Object.values(events))
    .map((type) => [type.$type, type]),
)

const shortName = (type: string): string => type.slice(type.lastIndexOf('.') + 1)

/**
 * Full names as they are, also of events that no contract has any more, and short ones such as `AnalysisCompleted` in
 * full. Throws INVALID_REQUEST for a short name that no event has.
 */
export function fullNames(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    if (name.includes('.')) return [name]
    const named = [...EVENT_TYPES.keys()].filter((type) => shortName(type) === name)
    if (named.length > 0) return named
    throw invalidRequest([{ field: 'types', description: `no event is called "${name}"` }])
  })
}
