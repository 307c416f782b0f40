import { DocumentCreated } from '@docmesh/contracts/document/v1/events'
import type { Queryable } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { publish } from './store.ts'
import { openWorld } from './world.fixture.ts'

const natsUrl = process.env.TEST_NATS_URL
const deliveries = [
  { name: 'PostgreSQL', natsUrl: undefined },
  ...(natsUrl === undefined ? [] : [{ name: 'JetStream', natsUrl }]),
]

/** An instance whose handler does `fail` with events of the aggregate `poison`, and records the others. */
const subscribePoisoned = async (
  world: Awaited<ReturnType<typeof openWorld>>,
  fail: (tx: Queryable) => Promise<void>,
) => {
  const instance = await world.start({ pollMs: 50 })
  const { handler, ...rest } = world.record(instance)
  instance.events.subscribe({
    ...rest,
    maxAttempts: 2,
    handler: async (event, tx) => {
      if (event.aggregateId === 'poison') await fail(tx)
      else await handler(event, tx)
    },
  })
  return instance
}

describe.each(deliveries)('a poison event over $name', ({ natsUrl }) => {
  it('is put aside when its handler hides that a query failed', async () => {
    await using world = await openWorld(natsUrl)
    const { events } = await subscribePoisoned(world, async (tx) => {
      await tx.query('select nonsense').catch(() => {})
    })
    await world.announce('poison')
    await world.announce('good')
    await eventually(async () => expect(await world.effects()).toEqual(['good 1']))
    expect(await events.deadLetters()).toMatchObject([
      { attempts: 2, reason: 'column "nonsense" does not exist' },
    ])
    expect(await events.redrive({ subscriber: 'audit' })).toBe(1n)
    await eventually(async () =>
      expect(await events.deadLetters()).toMatchObject([{ attempts: 3, redriving: false }]),
    )
  })

  it.each([
    ['has NUL in it', new Error('\u0000PK\ud800')],
    ['is no text', Object.assign(new Error(), { message: 42 })],
    ['is no error', { message: 42 }],
  ])('is put aside when what its handler says of it %s', async (_, reason) => {
    await using world = await openWorld(natsUrl)
    const { events } = await subscribePoisoned(world, () => Promise.reject(reason))
    await world.announce('poison')
    await world.announce('good')
    await eventually(async () => expect(await world.effects()).toEqual(['good 1']))
    expect(await events.deadLetters()).toHaveLength(1)
  })

  it('goes by at any size', async () => {
    await using world = await openWorld(natsUrl)
    const { events, db } = await world.start({ pollMs: 50 })
    const sizes: number[] = []
    events.subscribe({
      subscriber: 'audit',
      events: [DocumentCreated],
      maxAttempts: 1,
      handler: async ({ payload: { name } }) => {
        sizes.push(name.length)
        if (name.length > 2_000_000) throw new Error('too big for me')
      },
    })
    for (const size of [2_000_000, 2_000_001, 1])
      await publish(db, DocumentCreated, DocumentCreated.fromPartial({ name: 'x'.repeat(size) }), {
        aggregateType: 'document',
        aggregateId: 'big',
      })
    await eventually(() => expect(sizes).toEqual([2_000_000, 2_000_001, 1]))
    const [letter] = await events.deadLetters()
    expect(letter).toMatchObject({ reason: 'too big for me' })
    expect(letter?.envelope.payload.length).toBeGreaterThan(2_000_000)
  })

  it.each([
    ['and is tried again', 3],
    ['and is given up', 1],
  ])('is forgotten when it is erased while it is handled %s', async (_, maxAttempts) => {
    await using world = await openWorld(natsUrl)
    const instance = await world.start({ pollMs: 50 })
    const told: string[] = []
    const { handler, ...rest } = world.record(instance)
    instance.events.subscribe({
      ...rest,
      maxAttempts,
      handler: async (event, tx) => {
        await handler(event, tx)
        told.push(event.aggregateId)
        if (event.aggregateId !== 'poison') return
        await instance.events.erase(world.db, 'document', 'poison')
        throw new Error('erased meanwhile')
      },
    })
    await world.announce('poison')
    await world.announce('good')
    await eventually(async () => expect(await world.effects()).toEqual(['good 1']))
    expect(told).toEqual(['poison', 'good'])
    expect(await instance.events.deadLetters()).toEqual([])
  })
})
