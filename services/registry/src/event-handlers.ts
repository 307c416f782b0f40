import type { EventServiceDefinition } from '@docmesh/contracts/ops/v1/event'
import type { Events } from '@docmesh/events'
import {
  type FieldViolation,
  type Handlers,
  invalidRequest,
  pageFrom,
  readPage,
  rpcError,
} from '@docmesh/rpc'
import { redactText } from '@docmesh/telemetry'
import { fullNames } from './event-types.ts'
import { maskedEnvelope, payloadJson } from './event-view.ts'

/** What EventService needs of the events of its database. */
export type EventLog = Pick<Events, 'tail' | 'subscribers' | 'replay' | 'deadLetters' | 'redrive'>

export interface EventHandlersOptions {
  /** As soon as the database has been reached; undefined where there is none. */
  readonly opened: Promise<{ readonly events: EventLog }> | undefined
}

export interface EventHandlers {
  readonly handlers: Handlers<typeof EventServiceDefinition>
  /** Ends every tail with SHUTTING_DOWN. */
  close(): void
}

const REQUEST_ID = /^[\x21-\x7e]{0,128}$/
/** A bigint of PostgreSQL. */
const DEAD_LETTER_ID = /^\d{1,18}$/

/** EventService over the event log of the database, which every service of the mesh shares: wire ↔ libs/events. */
export function eventHandlers({ opened }: EventHandlersOptions): EventHandlers {
  const closing = new AbortController()
  let log: EventLog | undefined
  void opened?.then(({ events }) => {
    log = events
  })

  function openLog(): EventLog {
    if (!opened) throw rpcError('EVENTS_NOT_CONFIGURED', 'This registry has no database to find events in.')
    if (!log) throw rpcError('DATABASE_UNAVAILABLE', 'The database has not been reached yet.')
    return log
  }

  const handlers: Handlers<typeof EventServiceDefinition> = {
    async *tailEvents({ types, aggregateId, fromPosition, follow }, { signal: caller }) {
      demand([
        ...positionFaults('from_position', fromPosition),
        ...nulFaults('aggregate_id', aggregateId),
        ...nulFaults('types', ...types),
      ])
      const tail = openLog().tail({
        types: fullNames(types),
        aggregateId,
        fromPosition: fromPosition || undefined,
        follow,
        signal: AbortSignal.any([caller, closing.signal]),
      })
      for await (const { envelope, position } of tail)
        yield { event: maskedEnvelope(envelope), position, payloadJson: payloadJson(envelope) }
      if (follow && !caller.aborted)
        throw rpcError('SHUTTING_DOWN', 'This replica of the registry is ending: tail another one.')
    },

    async replayEvents({ subscriber, fromPosition, toPosition, types, requestId }) {
      demand([
        ...positionFaults('from_position', fromPosition),
        ...positionFaults('to_position', toPosition),
        ...idFaults(requestId),
      ])
      const from = openLog()
      const wanted = fullNames(types)
      await demandHeard(from, subscriber, wanted)
      const events = await from.replay({
        subscriber,
        fromPosition,
        types: wanted,
        ...(toPosition > 0n && { toPosition }),
        ...(requestId && { requestId }),
      })
      return { events }
    },

    async listDeadLetters({ subscriber, ...request }) {
      const { size, after } = readPage(request, (key) => DEAD_LETTER_ID.test(key))
      demand(nulFaults('subscriber', subscriber))
      const found = await openLog().deadLetters({
        limit: size + 1,
        subscriber: subscriber || undefined,
        beforeId: after === '' ? undefined : BigInt(after),
      })
      const { items, nextPageToken } = pageFrom(found, size, ({ id }) => String(id))
      return {
        nextPageToken,
        deadLetters: items.map(({ id, envelope, subscriber, attempts, reason, failedAt }) => ({
          id: String(id),
          event: maskedEnvelope(envelope),
          subscriber,
          attempts,
          error: redactText(reason),
          deadAt: failedAt,
        })),
      }
    },

    async redriveDeadLetters({ deadLetterIds, subscriber, requestId }) {
      const all = deadLetterIds.length === 0
      demand([
        ...(all && subscriber === ''
          ? [{ field: 'dead_letter_ids', description: 'name some, or a subscriber' }]
          : []),
        ...nulFaults('subscriber', subscriber),
        ...idFaults(requestId),
      ])
      const ids = deadLetterIds.filter((id) => DEAD_LETTER_ID.test(id)).map(BigInt)
      const redriven = await openLog().redrive({
        ...(all ? { subscriber } : { ids }),
        ...(requestId && { requestId }),
      })
      return { redriven: Number(redriven) }
    },
  }
  return { handlers, close: () => closing.abort() }
}

async function demandHeard(log: EventLog, name: string, types: readonly string[]): Promise<void> {
  const known = await log.subscribers()
  const heard = known.find(({ subscriber }) => subscriber === name)?.types
  if (!heard) {
    const names = known.map(({ subscriber }) => subscriber).join(', ') || 'none'
    throw rpcError('SUBSCRIBER_NOT_FOUND', `No subscriber is called "${name}". There are: ${names}.`, {
      resource: { type: 'subscriber', name },
    })
  }
  const unheard = types.filter((type) => !heard.includes(type))
  demand(
    unheard.map((type) => ({
      field: 'types',
      description: `${name} does not hear of ${type}; it hears of ${heard.join(', ')}`,
    })),
  )
}

const positionFaults = (field: string, position: bigint): FieldViolation[] =>
  position < 0n ? [{ field, description: '0 or more' }] : []

/** PostgreSQL has no text with such a character, nor takes one to compare. */
const nulFaults = (field: string, ...texts: readonly string[]): FieldViolation[] =>
  texts.some((text) => text.includes('\0')) ? [{ field, description: 'no NUL character' }] : []

const idFaults = (requestId: string): FieldViolation[] =>
  REQUEST_ID.test(requestId)
    ? []
    : [{ field: 'request_id', description: 'at most 128 printable ASCII characters' }]

function demand(faults: readonly FieldViolation[]): void {
  if (faults.length > 0) throw invalidRequest(faults)
}
