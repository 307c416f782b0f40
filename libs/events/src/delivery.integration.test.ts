import { DocumentCreated, DocumentErased } from '@docmesh/contracts/document/v1/events'
import { eventually, tcpProxy } from '@docmesh/testing'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import { durableName } from './nats.ts'
import { publish } from './store.ts'
import { openWorld } from './world.fixture.ts'

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
    expect(await events.redrive({ ids: [id] })).toBe(1n)
    await eventually(async () =>
      expect(await events.deadLetters()).toMatchObject([{ attempts: 4, redriving: false }]),
    )
    mended = true
    await events.redrive({ subscriber: 'audit' })
    await eventually(async () => expect(await events.deadLetters()).toEqual([]))
    expect(await world.effects()).toEqual(['good 1', 'poison 1'])
    expect(await events.redrive({ ids: [id] })).toBe(0n)
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

  it('delivers events again to one subscriber alone, in order, once per request, while new ones come', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start({ pollMs: 50 })
    const { events } = instance
    events.subscribe(world.record(instance))
    const others: string[] = []
    events.subscribe({
      subscriber: 'mail',
      events: [DocumentCreated],
      handler: async ({ aggregateId }) => void others.push(aggregateId),
    })
    for (const id of ['a', 'b', 'c']) await world.announce(id)
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1', 'c 1']))
    await eventually(async () =>
      expect(await events.subscribers()).toMatchObject([
        { subscriber: 'audit', types: [DocumentCreated.$type, DocumentErased.$type] },
        { subscriber: 'mail', types: [DocumentCreated.$type] },
      ]),
    )
    const request = { subscriber: 'audit', fromPosition: await world.positionOf('b'), requestId: 'r1' }
    expect(await Promise.all([events.replay(request), events.replay(request)])).toEqual([2n, 2n])
    await world.announce('d')
    await eventually(async () => expect(await world.effects()).toHaveLength(6))
    const after = (await world.effects()).slice(3)
    expect(after.filter((effect) => effect !== 'd 1')).toEqual(['b 1', 'c 1'])
    expect(await events.replay(request)).toBe(2n)

    const toPosition = await world.positionOf('a')
    expect(await events.replay({ subscriber: 'audit', fromPosition: 1n, toPosition })).toBe(1n)
    await eventually(async () => expect((await world.effects()).slice(6)).toEqual(['a 1']))
    await eventually(() => expect(others).toEqual(['a', 'b', 'c', 'd']))
    const types = [DocumentErased.$type]
    expect(await events.replay({ subscriber: 'audit', fromPosition: 1n, types })).toBe(0n)
    expect(await events.replay({ subscriber: 'nobody', fromPosition: 1n })).toBe(0n)
  })

  it('tries an event of a replay again, then puts it aside and goes on; a replay that works mends that', async () => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start({ pollMs: 50 })
    const { events } = instance
    const { handler, ...rest } = world.record(instance)
    const poisonous = new Map<string, number>()
    events.subscribe({
      ...rest,
      maxAttempts: 3,
      handler: async (event, tx) => {
        await handler(event, tx)
        const left = poisonous.get(event.aggregateId) ?? 0
        poisonous.set(event.aggregateId, left - 1)
        if (left > 0) throw new Error('cannot swallow')
      },
    })
    for (const id of ['a', 'b', 'c']) await world.announce(id)
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1', 'c 1']))

    poisonous.set('a', 1).set('b', Number.POSITIVE_INFINITY)
    await eventually(async () => expect(await events.subscribers()).toHaveLength(1))
    expect(await events.replay({ subscriber: 'audit', fromPosition: 1n })).toBe(3n)
    await eventually(async () => expect((await world.effects()).slice(3)).toEqual(['a 1', 'c 1']))
    expect(await events.deadLetters()).toMatchObject([{ attempts: 3, envelope: { aggregateId: 'b' } }])

    poisonous.clear()
    const position = await world.positionOf('b')
    await events.replay({ subscriber: 'audit', fromPosition: position, toPosition: position })
    await eventually(async () => expect((await world.effects()).slice(5)).toEqual(['b 1']))
    expect(await events.deadLetters()).toEqual([])
  })

  it('goes on with a replay when the instance that was at it leaves', async () => {
    await using world = await openWorld(natsUrl)
    const one = await world.start({ pollMs: 50 })
    one.events.subscribe(world.record(one))
    const expected = Array.from({ length: 30 }, (_, n) => `d${n} 1`)
    for (let n = 0; n < 30; n++) await world.announce(`d${n}`)
    await eventually(async () => expect(await world.effects()).toEqual(expected))
    await eventually(async () => expect(await one.events.subscribers()).toHaveLength(1))
    expect(await one.events.replay({ subscriber: 'audit', fromPosition: 1n })).toBe(30n)
    await eventually(async () => expect((await world.effects()).length).toBeGreaterThan(30))
    await one.stop()
    const two = await world.start({ pollMs: 50 })
    two.events.subscribe(world.record(two))
    await eventually(async () => expect(await world.effects()).toEqual([...expected, ...expected]))
    await eventually(async () => expect(await world.db.query('select from events.replays')).toEqual([]))
  })

  it('tries a dead letter once per request, and lists those of one subscriber in pages', async () => {
    await using world = await openWorld(natsUrl)
    const { events } = await world.start({ pollMs: 50 })
    const refuse = {
      events: [DocumentCreated],
      maxAttempts: 1,
      handler: () => Promise.reject(new Error('no')),
    }
    for (const subscriber of ['audit', 'mail']) events.subscribe({ subscriber, ...refuse })
    await world.announce('a')
    await world.announce('b')
    await eventually(async () => expect(await events.deadLetters()).toHaveLength(4))
    const [newest] = await events.deadLetters({ subscriber: 'audit', limit: 1 })
    const [older] = await events.deadLetters({ subscriber: 'audit', limit: 1, beforeId: newest?.id })
    expect([newest, older]).toMatchObject([
      { subscriber: 'audit', envelope: { aggregateId: 'b' } },
      { subscriber: 'audit', envelope: { aggregateId: 'a' } },
    ])
    const request = { ids: [newest?.id ?? 0n], requestId: 'r1' }
    const attempts = async () =>
      (await events.deadLetters({ subscriber: 'audit' })).map((letter) => letter.attempts)
    expect(await events.redrive(request)).toBe(1n)
    await eventually(async () => expect(await attempts()).toEqual([2, 1]))
    expect(await events.redrive(request)).toBe(1n)
    expect(await events.redrive({ subscriber: 'audit', requestId: 'r2' })).toBe(2n)
    await eventually(async () => expect(await attempts()).toEqual([3, 2]))
  })

  it('knows what it has dealt with after the inbox was pruned', async () => {
    await using world = await openWorld(natsUrl)
    const before = await world.start()
    before.events.subscribe(world.record(before))
    for (const id of ['a', 'b']) await world.announce(id)
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1']))
    await before.stop()

    const pruning = await world.start({ retentionMs: 1 })
    await eventually(async () => expect(await world.db.query('select from events.inbox')).toEqual([]))
    await world.db.query(`delete from events.cursors where name like 'audit:%'`)
    if (natsUrl !== undefined) {
      const nc = await connect({ servers: natsUrl })
      const { consumers } = await jetstreamManager(nc)
      await consumers.delete(world.run, durableName('audit', DocumentCreated.$type))
      await nc.close()
    }
    pruning.events.subscribe(world.record(pruning))
    await world.announce('c')
    await eventually(async () => expect(await world.effects()).toEqual(['a 1', 'b 1', 'c 1']))
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
