import type { Queryable } from '@docmesh/postgres'

/**
 * Does `work` when a request comes for the first time, in the transaction that remembers it; the same id again gets
 * what came of it then. A request without id is always the first.
 */
export const once = async (
  tx: Queryable,
  id: string | undefined,
  work: () => Promise<bigint>,
): Promise<bigint> => {
  if (id === undefined) return work()
  const fresh = await tx.query(
    'insert into events.requests (id) values ($1) on conflict (id) do nothing returning id',
    [id],
  )
  if (fresh.length === 0) {
    const [before] = await tx.query<{ events: bigint }>('select events from events.requests where id = $1', [
      id,
    ])
    return before?.events ?? 0n
  }
  const events = await work()
  await tx.query('update events.requests set events = $2 where id = $1', [id, events])
  return events
}
