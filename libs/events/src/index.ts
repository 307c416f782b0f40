export type { DeadLetter } from './dead-letters.ts'
export {
  connectEvents,
  type Events,
  type EventsOptions,
  type SubscribeOptions,
  type Subscription,
} from './events.ts'
export type { Event, EventOf, MessageType } from './message.ts'
export { ConcurrencyError, type Erase, type Publish, type PublishOptions } from './store.ts'
