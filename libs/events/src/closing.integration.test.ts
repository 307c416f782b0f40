import { expect, it } from 'vitest'
import { openWorld } from './world.fixture.ts'

it('waits for a handler under way, also of a subscription that is being closed', async () => {
  await using world = await openWorld(undefined)
  const instance = await world.start()
  const begun = Promise.withResolvers<void>()
  const finish = Promise.withResolvers<void>()
  const { handler, ...rest } = world.record(instance)
  const subscription = instance.events.subscribe({
    ...rest,
    handler: async (event, tx) => {
      begun.resolve()
      await finish.promise
      await handler(event, tx)
    },
  })
  await world.announce('a')
  await begun.promise
  const ended: string[] = []
  const closed = [
    subscription.close().then(() => ended.push('subscription')),
    subscription.close().then(() => ended.push('subscription again')),
    instance.events.close().then(() => ended.push('events')),
  ]
  await world.start()
  const early = [...ended]
  finish.resolve()
  await Promise.all(closed)
  expect(early).toEqual([])
  expect(await world.effects()).toEqual(['a 1'])
})
