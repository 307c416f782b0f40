import type { Postgres } from '@docmesh/postgres'
import { redriveNext } from './dead-letters.ts'
import type { Interests } from './inbox.ts'
import { type Loop, startLoop } from './loop.ts'
import { replayNext } from './replays.ts'
import { enrol } from './subscribers.ts'

type RepairsOptions = {
  db: Postgres
  subscriber: string
  interests: Interests
  /** Looks for requests this often when nobody wakes it. */
  pollMs: number
  onError: (error: Error) => void
}

const ENROL_MS = 600_000

/**
 * What a subscriber is to have again, dead letters and replays in turn, in the database alone: the same over every
 * delivery, which goes on meanwhile. One loop for all its types; it also keeps the subscriber known.
 */
export const startRepairs = ({ db, subscriber, interests, pollMs, onError }: RepairsOptions): Loop => {
  let enrolledAt = Number.NEGATIVE_INFINITY
  const step = async (): Promise<number> => {
    if (performance.now() - enrolledAt > ENROL_MS) {
      await enrol(db, subscriber, [...interests.keys()])
      enrolledAt = performance.now()
    }
    const redriven = await redriveNext(db, subscriber, interests)
    const replayed = await replayNext(db, subscriber, interests)
    return redriven || replayed ? 0 : pollMs
  }
  return startLoop(step, onError)
}
