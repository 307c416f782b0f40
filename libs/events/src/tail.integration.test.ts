import { DocumentCreated, DocumentErased } from '@docmesh/contracts/document/v1/events'
import { eventually, tcpProxy } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { publish } from './store.ts'
import type { Tailed } from './tail.ts'
import { openWorld } from './world.fixture.ts'

const idsOf = (events: readonly Tailed[]): string[] => events.map(({ envelope }) => envelope.aggregateId)

/** Takes what comes until it ends. */
const collect = (tail: AsyncIterable<Tailed>) => {
  const seen: Tailed[] = []
  const ended = (async () => {
    for await (const event of tail) seen.push(event)
  })()
  return { seen, ended }
}

it('brings what is committed from a position on, by type and aggregate, and ends at the newest', async () => {
  await using world = await openWorld(undefined)
  const { events, db } = await world.start()
  const { signal } = new AbortController()
  for (const id of ['a', 'b', 'c']) await world.announce(id)
  const erased = { aggregateType: 'document', aggregateId: 'b' }
  await publish(db, DocumentErased, DocumentErased.fromPartial({ documentId: 'b' }), erased)
  const read = async (options: object) => {
    const { seen, ended } = collect(events.tail({ fromPosition: 1n, follow: false, signal, ...options }))
    await ended
    return seen
  }
  expect(idsOf(await read({}))).toEqual(['a', 'b', 'c', 'b'])
  const fromB = await read({ fromPosition: await world.positionOf('b'), types: [DocumentCreated.$type] })
  expect(idsOf(fromB)).toEqual(['b', 'c'])
  expect(fromB[0]?.position).toBe(await world.positionOf('b'))
  const ofB = await read({ aggregateId: 'b' })
  expect(ofB.map(({ envelope }) => envelope.type)).toEqual([DocumentCreated.$type, DocumentErased.$type])
  expect(await read({ fromPosition: 1_000n })).toEqual([])
  expect(await read({ fromPosition: undefined })).toEqual([])
})

it('follows from a position in batches, and ends when its reader leaves', async () => {
  await using world = await openWorld(undefined)
  const { events, db } = await world.start()
  await db.transaction(async (tx) => {
    for (let n = 0; n < 250; n++) await world.announce(`d${n}`, tx)
  })
  const leaving = new AbortController()
  const tail = events.tail({ fromPosition: 1n, follow: true, signal: leaving.signal })
  const first = await tail.next()
  await world.announce('last')
  const { seen, ended } = collect(tail)
  await eventually(() => expect(seen.at(-1)?.envelope.aggregateId).toBe('last'))
  leaving.abort()
  await ended
  expect([first.value?.envelope.aggregateId, ...idsOf(seen)]).toEqual([
    ...Array.from({ length: 250 }, (_, n) => `d${n}`),
    'last',
  ])
})

it('begins with the next new event and steps over none that commits late', async () => {
  await using world = await openWorld(undefined)
  const { events } = await world.start()
  await world.announce('old')
  const leaving = new AbortController()
  const { seen, ended } = collect(events.tail({ follow: true, signal: leaving.signal }))
  await eventually(async () => {
    await world.announce('begun')
    expect(seen.length).toBeGreaterThan(0)
  })
  await world.db.transaction(async (late) => {
    await world.announce('late', late)
    await world.announce('early')
  })
  await eventually(() => expect(idsOf(seen).at(-1)).toBe('early'))
  leaving.abort()
  await ended
  expect(idsOf(seen).filter((id) => id !== 'begun')).toEqual(['late', 'early'])
})

it('goes on where it was after the database was away', async () => {
  await using world = await openWorld(undefined)
  await using proxy = await tcpProxy(world.db.url)
  const { events } = await world.start({ pollMs: 50 }, proxy.url)
  await world.announce('a')
  const leaving = new AbortController()
  const { seen, ended } = collect(events.tail({ fromPosition: 1n, follow: true, signal: leaving.signal }))
  await eventually(() => expect(idsOf(seen)).toEqual(['a']))
  proxy.cut()
  await world.announce('b')
  proxy.restore()
  await world.announce('c')
  await eventually(() => expect(idsOf(seen)).toEqual(['a', 'b', 'c']))
  leaving.abort()
  await ended
})

it('ends when its events are closed', async () => {
  await using world = await openWorld(undefined)
  const instance = await world.start()
  await world.announce('a')
  const { signal } = new AbortController()
  const { seen, ended } = collect(instance.events.tail({ fromPosition: 1n, follow: true, signal }))
  await eventually(() => expect(idsOf(seen)).toEqual(['a']))
  await instance.stop()
  await ended
})
