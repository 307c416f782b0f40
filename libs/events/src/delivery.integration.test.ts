import { randomBytes } from 'node:crypto'
import { DocumentCreated, DocumentErased } from '@docmesh/contracts/document/v1/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { eventually, tcpProxy, testDatabase } from '@docmesh/testing'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import { connectEvents, type Events, type EventsOptions } from './events.ts'
import { publish } from './store.ts'

type Instance = { events: Events; db: Postgres; name: string; stop(): Promise<void> }
type Severable = Instance & { sever(): void }

const openWorld = async (natsUrl: string | undefined) => {
  const stack = new AsyncDisposableStack()
  const database = stack.use(await testDatabase())
  const run = `T${randomBytes(5).toString('hex')}`
  if (natsUrl !== undefined)
    stack.defer(async () => {
      const nc = await connect({ servers: natsUrl })
      const { streams } = await jetstreamManager(nc)
      for (const name of [run, `${run}_DLQ`]) await streams.delete(name).catch(() => {})
      await nc.close()
    })
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
  return {
    db,
    run,
    start,
    startSeverable,
    record,
    announce,
    effects,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const natsUrl = process.env.TEST_NATS_URL
const deliveries = [
  { name: 'PostgreSQL', natsUrl: undefined },
  ...(natsUrl === undefined ? [] : [{ name: 'JetStream', natsUrl }]),
]

describe.each(deliveries)('delivery over $name', ({ natsUrl }) => {
  it('brings an event with its whole envelope to every subscriber', async () => {
    await using world = await openWorld(natsUrl)
    const { events, db } = await world.start()
    const seen: unknown[] = []
    for (const subscriber of ['search', 'mail'])
      events.subscribe({
        subscriber,
        events: [DocumentCreated],
        handler: async (event) => void seen.push({ subscriber, event }),
      })
    const event = await db.transaction((tx) =>
      events.publish(tx, DocumentCreated, DocumentCreated.fromPartial({ documentId: 'd1', sizeBytes: 7n }), {
        aggregateType: 'document',
        aggregateId: 'd1',
        userId: 'ana',
        tenantId: 'acme',
        correlationId: 'request-1',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      }),
    )
    await eventually(() => expect(seen).toHaveLength(2))
    expect(seen).toEqual(
      expect.arrayContaining([
        { subscriber: 'search', event },
        { subscriber: 'mail', event },
      ]),
    )
  })

  it('leaves one effect per event although handlers fail after writing', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start()
    const failed = new Set<string>()
    const { handler, ...rest } = world.record(instance)
    instance.events.subscribe({
      ...rest,
      handler: async (event, tx) => {
        await handler(event, tx)
        if (failed.has(event.id)) return
        failed.add(event.id)
        throw new Error('after writing')
      },
    })
    for (const id of ['a', 'b', 'c']) await world.announce(id)
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1', 'c 1']))
    expect(failed.size).toBe(3)
  })

  it('keeps the order of each aggregate, with several writers and failing attempts', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start()
    const failed = new Set<string>()
    const { handler, ...rest } = world.record(instance)
    instance.events.subscribe({
      ...rest,
      handler: async (event, tx) => {
        if (event.version % 3n === 0n && !failed.has(event.id)) {
          failed.add(event.id)
          throw new Error('first attempt')
        }
        await handler(event, tx)
      },
    })
    const aggregates = ['a', 'b', 'c']
    await Promise.all(
      aggregates.map(async (id) => {
        for (let n = 0; n < 6; n++) await world.db.transaction((tx) => world.announce(id, tx))
      }),
    )
    await eventually(async () => expect(await world.effects()).toHaveLength(18))
    const effects = await world.effects()
    for (const id of aggregates)
      expect(effects.filter((effect) => effect.startsWith(id))).toEqual(
        [1, 2, 3, 4, 5, 6].map((version) => `${id} ${version}`),
      )
  })

  it('does not step over an event whose transaction commits late', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start({ pollMs: 50 })
    instance.events.subscribe(world.record(instance))
    await world.db.transaction(async (late) => {
      await world.announce('late', late)
      await world.announce('early')
      const looks = new Set<string>()
      await eventually(async () => {
        const rows = await world.db.query<{ at: string }>(
          `select query_start::text as at from pg_stat_activity
           where application_name = $1 and state = 'idle' and query = 'commit'`,
          [instance.name],
        )
        for (const { at } of rows) looks.add(at)
        expect(looks.size).toBeGreaterThanOrEqual(4)
      })
    })
    await eventually(async () => expect(await world.effects()).toEqual(['late 1', 'early 1']))
  })

  it('shares the work of one subscriber between instances, and goes on when one of them leaves', async () => {
    await using world = await openWorld(natsUrl)
    const one = await world.start()
    const two = await world.start()
    for (const instance of [one, two]) instance.events.subscribe(world.record(instance))
    const ids = Array.from({ length: 30 }, (_, n) => `d${n}`)
    for (const id of ids.slice(0, 20)) await world.announce(id)
    await eventually(async () => expect(await world.effects()).toHaveLength(20))
    await one.stop()
    for (const id of ids.slice(20)) await world.announce(id)
    await eventually(async () => expect(await world.effects()).toHaveLength(30))
    expect(await world.effects()).toEqual(ids.map((id) => `${id} 1`))
    const last = await world.db.query(`select distinct instance from effects where n > 20`)
    expect(last).toEqual([{ instance: two.name }])
  })

  it('leaves one effect when an instance is cut off between handling and acknowledging', async () => {
    await using world = await openWorld(natsUrl)
    const doomed = await world.startSeverable()
    const severed = Promise.withResolvers<void>()
    const { handler, ...rest } = world.record(doomed)
    doomed.events.subscribe({
      ...rest,
      handler: async (event, tx) => {
        await handler(event, tx)
        doomed.sever()
        severed.resolve()
      },
    })
    await world.announce('a')
    await severed.promise
    const heir = await world.start()
    heir.events.subscribe(world.record(heir))
    await world.announce('b')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1']))
    const [b] = await world.db.query(`select instance from effects where aggregate = 'b'`)
    expect(b).toEqual({ instance: heir.name })
  })

  it('puts a poison event aside, goes on, and takes it up again when asked', async () => {
    await using world = await openWorld(natsUrl)
    const errors: string[] = []
    const instance = await world.start({ onError: (error) => errors.push(error.message) })
    const { events } = instance
    let mended = false
    const { handler, ...rest } = world.record(instance)
    events.subscribe({
      ...rest,
      maxAttempts: 3,
      handler: async (event, tx) => {
        await handler(event, tx)
        if (event.aggregateId === 'poison' && !mended) throw new Error('cannot swallow')
      },
    })
    const poison = await world.announce('poison')
    await world.announce('good')
    await eventually(async () => expect(await world.effects()).toEqual(['good 1']))
    const [letter, ...others] = await events.deadLetters()
    expect(others).toEqual([])
    expect(letter).toMatchObject({
      subscriber: 'audit',
      eventId: poison.id,
      type: DocumentCreated.$type,
      reason: 'cannot swallow',
      attempts: 3,
      redriving: false,
    })
    expect(errors).toContain(`audit failed on ${DocumentCreated.$type} ${poison.id}: cannot swallow`)

    const id = letter?.id ?? 0n
    await events.redrive(id)
    await eventually(async () =>
      expect(await events.deadLetters()).toMatchObject([{ attempts: 4, redriving: false }]),
    )
    mended = true
    await events.redrive(id)
    await eventually(async () => expect(await events.deadLetters()).toEqual([]))
    expect(await world.effects()).toEqual(['good 1', 'poison 1'])
    await expect(events.redrive(id)).rejects.toThrow(`there is no dead letter ${id}`)
  })

  it('puts an event that cannot be decoded aside at once', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start()
    instance.events.subscribe({ ...world.record(instance), backoff: () => 60_000 })
    const damaged = { ...DocumentCreated, encode: () => ({ finish: () => Uint8Array.of(0x0a, 0xff) }) }
    await publish(world.db, damaged, DocumentCreated.create(), {
      aggregateType: 'document',
      aggregateId: 'x',
    })
    await world.announce('good')
    await eventually(async () => expect(await world.effects()).toEqual(['good 1']))
    const [letter] = await instance.events.deadLetters()
    expect(letter).toMatchObject({ attempts: 1 })
    expect(letter?.reason).toContain(`payload is not a ${DocumentCreated.$type}`)
  })

  it('resumes after a restart where it stopped', async () => {
    await using world = await openWorld(natsUrl)
    const before = await world.start()
    before.events.subscribe(world.record(before))
    await world.announce('a')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1']))
    await before.stop()
    await world.announce('b')
    const after = await world.start()
    after.events.subscribe(world.record(after))
    await world.announce('c')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1', 'c 1']))
  })

  it('stops delivering to a subscription that is closed', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start()
    const gone = instance.events.subscribe(world.record(instance, 'gone'))
    await gone.close()
    instance.events.subscribe(world.record(instance))
    await world.announce('a')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1']))
    const seen = await world.db.query(`select subscriber from events.inbox`)
    expect(seen).toEqual([{ subscriber: 'audit' }])
  })
})

describe.runIf(natsUrl !== undefined)('delivery over JetStream when things go wrong', () => {
  it('publishes while NATS is away and catches up when it is back', async () => {
    await using world = await openWorld(natsUrl)
    await using proxy = await tcpProxy(natsUrl ?? '')
    proxy.cut()
    const errors: Error[] = []
    const instance = await world.start({ natsUrl: proxy.url, onError: (error) => errors.push(error) })
    instance.events.subscribe(world.record(instance))
    await world.announce('a')
    await eventually(() =>
      expect(errors.map(({ message }) => message)).toContainEqual(
        expect.stringContaining('NATS does not answer'),
      ),
    )
    proxy.restore()
    await eventually(async () => expect(await world.effects()).toEqual(['a 1']))
    proxy.cut()
    await world.announce('b')
    proxy.restore()
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1']))
  })

  it('makes its stream and consumer anew when somebody deletes them', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start()
    instance.events.subscribe(world.record(instance))
    await world.announce('a')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1']))
    const nc = await connect({ servers: natsUrl ?? '' })
    await (await jetstreamManager(nc)).streams.delete(world.run)
    await nc.close()
    await world.announce('b')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1']))
  })

  it('publishes dead letters under dlq, and is not stopped by a message that is no event', async () => {
    await using world = await openWorld(natsUrl)
    const errors: string[] = []
    const instance = await world.start({ onError: (error) => errors.push(error.message) })
    const nc = await connect({ servers: natsUrl ?? '' })
    const heard = nc.subscribe(`${world.run}.dlq.>`, { max: 1 })
    const { handler, ...rest } = world.record(instance)
    instance.events.subscribe({
      ...rest,
      maxAttempts: 1,
      handler: async (event, tx) => {
        if (event.aggregateId === 'poison') throw new Error('no')
        await handler(event, tx)
      },
    })
    await world.announce('poison')
    await world.announce('a')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1']))
    const subjects: string[] = []
    for await (const message of heard) subjects.push(message.subject)
    expect(subjects).toEqual([`${world.run}.dlq.${DocumentCreated.$type}`])

    nc.publish(`${world.run}.${DocumentCreated.$type}`, Uint8Array.of(1, 2, 3))
    await nc.flush()
    await world.announce('b')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1']))
    expect(errors).toContain('not an event envelope')
    await nc.close()
  })
})

it('passes over events that were erased before they were delivered', async () => {
  await using world = await openWorld(undefined)
  const instance = await world.start()
  await world.announce('gone')
  await world.announce('here')
  await instance.events.erase(world.db, 'document', 'gone')
  instance.events.subscribe(world.record(instance))
  await eventually(async () => expect(await world.effects()).toEqual(['here 1']))
})
