import { DatabaseUnavailable, type Queryable } from '@docmesh/postgres'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createBell } from './bell.ts'
import { tailLog } from './tail.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const tail = (query: Queryable['query']) =>
  tailLog(
    { db: { query }, bell: createBell(), pollMs: 1_000 },
    { follow: true, signal: new AbortController().signal },
  )

it('gives up when the database is away for half a minute', async () => {
  let calls = 0
  const query = async () => {
    if (calls++ > 0) throw new DatabaseUnavailable('away')
    return [{ snapshot: '5:5:', xid: '5' }] as never
  }
  const failed: unknown[] = []
  void tail(query)
    .next()
    .catch((error) => failed.push(error))
  await vi.advanceTimersByTimeAsync(29_000)
  expect(failed).toEqual([])
  await vi.advanceTimersByTimeAsync(2_000)
  expect(failed).toEqual([new DatabaseUnavailable('away')])
})

it('gives up at once when the database refuses', async () => {
  let calls = 0
  const query = async () => {
    if (calls++ > 0) throw new Error('permission denied')
    return [{ snapshot: '5:5:', xid: '5' }] as never
  }
  await expect(tail(query).next()).rejects.toThrow('permission denied')
})
