import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'

/** A generated message object, e.g. `DocumentCreated`. */
export type MessageType<T = unknown, Name extends string = string> = {
  readonly $type: Name
  encode(message: T): { finish(): Uint8Array }
  decode(input: Uint8Array): T
}

/** An event as handlers get it: the envelope with its payload decoded. */
export type Event<T = unknown, Name extends string = string> = Omit<
  EventEnvelope,
  'type' | 'payload' | 'occurredAt'
> & { type: Name; occurredAt: Date; payload: T }

/** The events of some message types, told apart by `type`. */
export type EventOf<M extends MessageType> =
  M extends MessageType<infer T, infer Name> ? Event<T, Name> : never

/** The bytes are not what their type says; trying again cannot help. */
export class UndecodableError extends Error {}

export const decodeEnvelope = (bytes: Uint8Array): EventEnvelope => {
  try {
    const envelope = EventEnvelope.decode(bytes)
    if (envelope.id !== '' && envelope.type !== '') return envelope
  } catch {
    // Said below, together with an envelope that decodes into nothing.
  }
  throw new UndecodableError('not an event envelope')
}

export const decodeEvent = (type: MessageType, envelope: EventEnvelope): Event => {
  try {
    return {
      ...envelope,
      occurredAt: envelope.occurredAt ?? new Date(0),
      payload: type.decode(envelope.payload),
    }
  } catch (error) {
    throw new UndecodableError(`payload is not a ${type.$type}: ${(error as Error).message}`)
  }
}
