import type { Claimed } from './model.ts'
import type { OutsideChannel } from './preferences.ts'

/** How one attempt to send went. */
export type Outcome =
  | { readonly kind: 'delivered' }
  | {
      readonly kind: 'failed'
      /** No other attempt can end otherwise. */
      readonly permanent: boolean
      /** The server is broken; false when it judged this message, and so works. */
      readonly serverFault: boolean
      readonly error: string
      /** What the server asked for; 0 for nothing. */
      readonly retryAfterMs?: number
    }

/** A way out of docmesh. */
export interface Sender {
  /** The server that takes what goes to a destination: one that fails or hangs holds up nothing but its own. */
  server(destination: string): string
  /** Sends one delivery to its destination; never rejects. */
  send(claimed: Claimed): Promise<Outcome>
}

/** What this instance can send by. */
export type Senders = ReadonlyMap<OutsideChannel, Sender>
