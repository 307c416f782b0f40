import { fakeClock } from '@docmesh/testing'
import { expect, it } from 'vitest'
import type { Outcome } from './channel.ts'
import { createServers, type ServersOptions } from './servers.ts'

const DELIVERED: Outcome = { kind: 'delivered' }
const BROKEN: Outcome = { kind: 'failed', permanent: false, serverFault: true, error: 'answered 500' }
const UNKNOWN: Outcome = { kind: 'failed', permanent: true, serverFault: false, error: 'answered 404' }
const breaker = {
  trip: { kind: 'CONSECUTIVE', failureThreshold: 3 },
  openMs: 1_000,
  jitter: 0,
  probes: 1,
} as const

function world(options: ServersOptions = {}) {
  const clock = fakeClock()
  const changes: string[] = []
  const servers = createServers(
    { breaker, ...options },
    { now: clock.now, random: () => 0.5, onChange: (server, state) => changes.push(`${server} ${state}`) },
  )
  const attempt = (server: string, outcome: Outcome) => servers.attempt(server, async () => outcome)
  return { clock, changes, servers, attempt }
}

it('gives a server that fails a rest, and no other', async () => {
  const { servers, attempt, changes, clock } = world()
  for (let n = 0; n < 3; n++) expect(await attempt('a.test', BROKEN)).toBe(BROKEN)
  expect(await attempt('a.test', DELIVERED)).toEqual({ kind: 'refused', retryAfterMs: 1_000 })
  expect(await attempt('b.test', DELIVERED)).toBe(DELIVERED)
  expect(servers.closed()).toEqual(['a.test'])
  clock.advance(1_000)
  expect(servers.closed()).toEqual([])
  expect(await attempt('a.test', DELIVERED)).toBe(DELIVERED)
  expect(changes).toEqual(['a.test open', 'a.test closed'])
})

it('does not blame a server for the messages that it refuses', async () => {
  const { servers, attempt } = world()
  for (let n = 0; n < 10; n++) expect(await attempt('a.test', UNKNOWN)).toBe(UNKNOWN)
  expect(servers.closed()).toEqual([])
})

it('lets one message try a server after its rest', async () => {
  const { servers, attempt, clock } = world()
  for (let n = 0; n < 3; n++) await attempt('a.test', BROKEN)
  clock.advance(1_000)
  const end = Promise.withResolvers<Outcome>()
  const probe = servers.attempt('a.test', () => end.promise)
  expect(servers.closed()).toEqual(['a.test'])
  expect(await attempt('a.test', DELIVERED)).toMatchObject({ kind: 'refused' })
  end.resolve(BROKEN)
  await probe
  expect(await attempt('a.test', DELIVERED)).toEqual({ kind: 'refused', retryAfterMs: 2_000 })
})

it('has so many messages in hand for a server and no more', async () => {
  const { servers, attempt } = world({ atOnce: 2 })
  const end = Promise.withResolvers<Outcome>()
  const slow = [1, 2].map(() => servers.attempt('slow.test', () => end.promise))
  expect(servers.closed()).toEqual(['slow.test'])
  expect(await attempt('slow.test', DELIVERED)).toEqual({ kind: 'refused', retryAfterMs: 100 })
  expect(await attempt('fast.test', DELIVERED)).toBe(DELIVERED)
  end.resolve(DELIVERED)
  expect(await Promise.all(slow)).toEqual([DELIVERED, DELIVERED])
  expect(await attempt('slow.test', DELIVERED)).toBe(DELIVERED)
})

it('frees the place of a message whose sender throws', async () => {
  const { servers, attempt } = world({ atOnce: 1 })
  await expect(servers.attempt('a.test', () => Promise.reject(new Error('bug')))).rejects.toThrow('bug')
  expect(await attempt('a.test', DELIVERED)).toBe(DELIVERED)
})

it('forgets the server used least recently, but none with something in hand', async () => {
  const { servers, attempt } = world({ maxServers: 2, atOnce: 1 })
  const end = Promise.withResolvers<Outcome>()
  const held = servers.attempt('held.test', () => end.promise)
  for (let n = 0; n < 3; n++) await attempt('old.test', BROKEN)
  expect(servers.closed()).toEqual(['held.test', 'old.test'])
  for (let n = 0; n < 100; n++) await attempt(`${n}.test`, DELIVERED)
  expect(servers.closed()).toEqual(['held.test'])
  end.resolve(DELIVERED)
  expect(await held).toBe(DELIVERED)
})
