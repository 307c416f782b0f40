import type { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { Queryable } from '@docmesh/postgres'
import { attempt, type Interest, type Outcome, readStandings } from './inbox.ts'

/** Events that wait share a transaction and its trip to the disk; one that has taken this many milliseconds ends. */
export const BATCH = 20
const BATCH_MS = 10

type Attempted = {
  /** Of the first events, in their order; the last may be a retry, which holds up those behind it. */
  outcomes: Outcome[]
  /** Ids to settle: what was decided here, and not before. */
  decided: string[]
}

/** Attempts one event after the other, until one has to be tried again or the time is up; the caller settles. */
export const attemptInTurn = async (
  tx: Queryable,
  interest: Interest,
  events: readonly EventEnvelope[],
): Promise<Attempted> => {
  const until = performance.now() + BATCH_MS
  const standings = await readStandings(
    tx,
    interest.subscriber,
    events.map(({ id }) => id),
  )
  const outcomes: Outcome[] = []
  const decided: string[] = []
  for (const [index, event] of events.entries()) {
    const standing = standings[index]
    // What the log says counts: a message may have been erased since, or come without a payload too big for it.
    const outcome = await attempt(
      tx,
      interest,
      { ...event, payload: standing?.payload ?? event.payload },
      standing,
    )
    outcomes.push(outcome)
    if (outcome.state === 'handled' || outcome.state === 'dead') decided.push(event.id)
    if (outcome.state === 'retry' || performance.now() > until) break
  }
  return { outcomes, decided }
}
