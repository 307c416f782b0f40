import type { Postgres } from '@docmesh/postgres'

/**
 * Payload of a notification: a run that somebody steered. A bare id is progress that an execution made itself, which
 * tells its own node nothing new.
 */
export const steeredPayload = (runId: string): string => `!${runId}`

/** Payload of a notification: there is work in this queue, '' any. */
export const workPayload = (queue: string): string => `+${queue}`

/** Tells waiters of this process that a run changed, whichever node changed it. */
export interface Changes {
  /** Calls back for every change of the run, and when some may have been missed. Returns how to stop. */
  subscribe(runId: string, onChange: () => void): () => void
  close(): Promise<void>
}

export async function openChanges(
  db: Postgres,
  channel: string,
  /** '' when some may have been missed. */
  onSteered: (runId: string) => void,
  /** '' for any queue. */
  onWork: (queue: string) => void,
): Promise<Changes> {
  const waiting = new Map<string, Set<() => void>>()
  const connection = await db.listen(channel, (payload) => {
    if (payload.startsWith('+')) return onWork(payload.slice(1))
    if (payload === '') onWork('')
    const steered = payload.startsWith('!')
    const runId = steered ? payload.slice(1) : payload
    if (steered || runId === '') onSteered(runId)
    const ids = runId === '' ? [...waiting.keys()] : [runId]
    for (const id of ids) for (const wake of waiting.get(id) ?? []) wake()
  })
  return {
    subscribe(runId, onChange) {
      const own = waiting.get(runId) ?? new Set()
      waiting.set(runId, own)
      own.add(onChange)
      return () => {
        own.delete(onChange)
        if (own.size === 0 && waiting.get(runId) === own) waiting.delete(runId)
      }
    },
    close: () => connection.close(),
  }
}
