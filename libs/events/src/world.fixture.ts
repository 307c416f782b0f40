import { randomBytes } from 'node:crypto'
import { DocumentCreated, DocumentErased } from '@docmesh/contracts/document/v1/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { deleteStreams, tcpProxy, testDatabase } from '@docmesh/testing'
import { connectEvents } from './events.ts'
import type { Events, EventsOptions } from './options.ts'
import { publish } from './store.ts'

type Instance = { events: Events; db: Postgres; name: string; stop(): Promise<void> }
type Severable = Instance & { sever(): void }

/** A database and a stream of its own, instances that work on them, and a table that tells what handlers did. */
export const openWorld = async (natsUrl: string | undefined) => {
  const stack = new AsyncDisposableStack()
  const database = stack.use(await testDatabase())
  const run = `T${randomBytes(5).toString('hex')}`
  if (natsUrl !== undefined) stack.defer(() => deleteStreams(natsUrl, [run, `${run}_DLQ`]))
  const db = stack.use(await openPostgres({ url: database.url, schema: 'public' }))
  await db.query(
    `create table effects (n int generated always as identity, instance text, aggregate text, version bigint)`,
  )

  const start = async (options: Partial<EventsOptions> = {}, url = database.url): Promise<Instance> => {
    const name = `instance-${randomBytes(4).toString('hex')}`
    const own = await openPostgres({ url, schema: 'public', applicationName: name })
    const events = await connectEvents({
      db: own,
      ...(natsUrl === undefined ? {} : { natsUrl }),
      stream: run,
      subjectPrefix: `${run}.`,
      ackWaitMs: 1_000,
      ...options,
    })
    let stopped: Promise<void> | undefined
    const stop = (): Promise<void> => {
      stopped ??= events.close().then(() => own.close())
      return stopped
    }
    stack.defer(stop)
    return { events, db: own, name, stop }
  }

  /** An instance that can lose the server to which it says that an event is done. */
  const startSeverable = async (): Promise<Severable> => {
    const proxy = stack.use(await tcpProxy(natsUrl ?? database.url))
    const instance = await (natsUrl === undefined ? start({}, proxy.url) : start({ natsUrl: proxy.url }))
    return { ...instance, sever: () => proxy.cut() }
  }

  const record = ({ name }: Instance, subscriber = 'audit') => ({
    subscriber,
    events: [DocumentCreated, DocumentErased],
    backoff: () => 5,
    handler: async (event: { aggregateId: string; version: bigint }, tx: Pick<Postgres, 'query'>) => {
      await tx.query('insert into effects (instance, aggregate, version) values ($1, $2, $3)', [
        name,
        event.aggregateId,
        event.version,
      ])
    },
  })
  const announce = (aggregateId: string, tx: Pick<Postgres, 'query'> = db) =>
    publish(tx, DocumentCreated, DocumentCreated.fromPartial({ documentId: aggregateId }), {
      aggregateType: 'document',
      aggregateId,
    })
  const effects = async (): Promise<string[]> => {
    const rows = await db.query<{ effect: string }>(
      `select aggregate || ' ' || version as effect from effects order by n`,
    )
    return rows.map(({ effect }) => effect)
  }
  const positionOf = async (aggregateId: string): Promise<bigint> => {
    const [row] = await db.query<{ position: bigint }>(
      'select position from events.log where aggregate_id = $1',
      [aggregateId],
    )
    return row?.position ?? 0n
  }
  return {
    db,
    run,
    start,
    startSeverable,
    record,
    announce,
    effects,
    positionOf,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
