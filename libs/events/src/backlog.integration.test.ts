import { eventually } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { openWorld } from './world.fixture.ts'

const natsUrl = process.env.TEST_NATS_URL

describe.each([
  { name: 'PostgreSQL', natsUrl: undefined },
  ...(natsUrl === undefined ? [] : [{ name: 'JetStream', natsUrl }]),
])('a backlog over $name', ({ natsUrl }) => {
  it('is worked off in the order of the log, each once, whatever fails in the middle of it', async () => {
    await using world = await openWorld(natsUrl)
    const ids = Array.from({ length: 60 }, (_, n) => `d${n}`)
    const instances = [await world.start({ pollMs: 50 }), await world.start({ pollMs: 50 })]
    await world.db.transaction(async (tx) => {
      for (const id of ids) await world.announce(id, tx)
    })
    const tried = new Map<string, number>()
    for (const instance of instances) {
      const { handler, ...rest } = world.record(instance)
      instance.events.subscribe({
        ...rest,
        maxAttempts: 3,
        handler: async (event, tx) => {
          await handler(event, tx)
          const attempts = (tried.get(event.aggregateId) ?? 0) + 1
          tried.set(event.aggregateId, attempts)
          if (event.aggregateId === 'd33') throw new Error('never')
          if (event.aggregateId.endsWith('7') && attempts < 3) throw new Error('not yet')
        },
      })
    }
    const expected = ids.filter((id) => id !== 'd33').map((id) => `${id} 1`)
    await eventually(async () => expect(await world.effects()).toHaveLength(expected.length))
    expect(await world.effects()).toEqual(expected)
    const [events] = instances.map((instance) => instance.events)
    expect(await events?.deadLetters()).toMatchObject([{ attempts: 3, envelope: { aggregateId: 'd33' } }])
    expect(await world.db.query('select from events.attempts')).toEqual([])
    expect([...tried.values()].toSorted()).toEqual(
      [...ids.map((id) => (/7$|^d33$/.test(id) ? 3 : 1))].toSorted(),
    )
  })
})
