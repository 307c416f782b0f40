import type { Interest } from './inbox.ts'
import type { Loop } from './loop.ts'

/**
 * Brings events to subscribers, in order per aggregate and event type, at least once: `attempt` makes it once.
 * Instances with the same subscriber name share the work. A new subscriber starts with the oldest event.
 */
export type Delivery = {
  /** The loop is woken when an event was published. */
  consume(interest: Interest): Loop
  close(): Promise<void>
}
