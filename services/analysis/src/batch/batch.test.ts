import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Batch,
  counted,
  type Ended,
  finished,
  freePlaces,
  isDone,
  meanScore,
  remainingMs,
  withdrawn,
} from './batch.ts'

const BEGAN = new Date('2026-01-01T00:00:00Z')
const after = (ms: number): Date => new Date(BEGAN.getTime() + ms)

const batchOf = (fields: Partial<Batch> = {}): Batch => ({
  id: 'b1',
  tenantId: 'acme',
  requestedBy: 'ana',
  name: 'contracts',
  options: {
    rulePacks: [],
    locale: 'en',
    priority: 'normal',
    aiEnabled: false,
    notify: false,
    unmask: false,
  },
  parallelism: 4,
  state: 'running',
  total: 10,
  started: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  scored: 0,
  scoreSum: 0,
  ends: 0,
  createdAt: BEGAN,
  closedAt: BEGAN,
  endedAt: undefined,
  ...fields,
})
const completed = (score?: number): Ended => ({ state: 'completed', score })
const failed: Ended = { state: 'failed', score: undefined }
const cancelled: Ended = { state: 'cancelled', score: undefined }

describe('the window', () => {
  it('is as wide as the parallelism, and no wider than what waits', () => {
    expect(freePlaces(batchOf())).toBe(4)
    expect(freePlaces(batchOf({ started: 4 }))).toBe(0)
    expect(freePlaces(batchOf({ started: 4, completed: 1, failed: 1 }))).toBe(2)
    expect(freePlaces(batchOf({ started: 9, completed: 9 }))).toBe(1)
  })

  it('is shut until all documents are there', () => {
    expect(freePlaces(batchOf({ closedAt: undefined }))).toBe(0)
    expect(isDone(batchOf({ closedAt: undefined, total: 0 }))).toBe(false)
  })
})

describe('an end', () => {
  it('counts by its kind, with its score when it has one', () => {
    const batch = [completed(80), completed(41), completed(), failed, cancelled].reduce(
      (before, end) => counted(before, end, undefined),
      batchOf({ started: 5 }),
    )
    expect(batch).toMatchObject({ completed: 3, failed: 1, cancelled: 1, ends: 5 })
    expect(meanScore(batch)).toBe(60.5)
    expect(meanScore(batchOf())).toBeUndefined()
  })

  it('replaces an earlier one of the same analysis, whatever both are', () => {
    const end = fc.oneof(
      fc.nat(100).map((score) => completed(score)),
      fc.constantFrom(completed(), failed, cancelled),
    )
    fc.assert(
      fc.property(fc.array(end), end, end, (others, first, last) => {
        const base = others.reduce((batch, each) => counted(batch, each, undefined), batchOf({ started: 10 }))
        const retried = counted(counted(base, first, undefined), last, first)
        expect({ ...retried, ends: 0 }).toEqual({ ...counted(base, last, undefined), ends: 0 })
      }),
    )
  })

  it('judges an ended batch anew when a retry changes it', () => {
    const ended = finished(batchOf({ total: 2, started: 2, completed: 1, failed: 1 }), after(5))
    expect(ended.state).toBe('partial')
    expect(counted(ended, completed(70), failed)).toMatchObject({ state: 'completed', endedAt: after(5) })
  })
})

describe('the state of an ended batch', () => {
  it.each([
    ['completed', { completed: 3 }],
    ['partial', { completed: 1, failed: 1, cancelled: 1 }],
    ['failed', { failed: 3 }],
    ['failed', { failed: 1, cancelled: 2 }],
    ['cancelled', { cancelled: 3 }],
  ] as const)('is %s for %j', (state, counts) => {
    const batch = finished(batchOf({ total: 3, started: 3, ...counts }), after(1))
    expect(batch).toMatchObject({ state, endedAt: after(1) })
    expect(isDone(batch)).toBe(true)
  })

  it('stays cancelled when it was withdrawn, whatever had completed by then', () => {
    const batch = withdrawn(batchOf({ started: 3, completed: 2 }), after(1))
    expect(batch).toMatchObject({ state: 'cancelled', cancelled: 7, endedAt: undefined })
    expect(freePlaces(batch)).toBe(0)
    const ended = finished(counted(batch, cancelled, undefined), after(2))
    expect(ended).toMatchObject({ state: 'cancelled', completed: 2, cancelled: 8 })
    expect(isDone(ended)).toBe(true)
  })
})

it('estimates the time that is left from the pace so far', () => {
  const batch = batchOf({ started: 8, completed: 3, failed: 1 })
  expect(remainingMs(batch, after(8_000))).toBe(12_000)
  expect(remainingMs(batchOf({ started: 4 }), after(8_000))).toBeUndefined()
  // The clock of the instance that closed it was ahead.
  expect(remainingMs(batch, after(-60_000))).toBe(0)
  expect(remainingMs({ ...batch, endedAt: after(1) }, after(8_000))).toBeUndefined()
})
