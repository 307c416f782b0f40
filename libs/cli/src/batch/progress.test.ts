import { Batch } from '@docmesh/contracts/analysis/v1/batch'
import { expect, it } from 'vitest'
import { createBatchProgress } from './progress.ts'

function watched() {
  let nowMs = 0
  let text = ''
  const progress = createBatchProgress({ write: (data) => (text += String(data)) }, 'x', () => nowMs)
  return {
    progress,
    at(ms: number) {
      nowMs = ms
      return progress
    },
    lines: () => text.split('\n').slice(0, -1),
  }
}
const batch = (fields: Partial<Batch>): Batch => Batch.fromPartial({ total: 100, ...fields })

it('writes a line at the beginning, every five seconds, and at the end', () => {
  const { at, lines } = watched()
  at(0).uploads(0, 10)
  at(1_000).uploads(1, 10)
  at(4_999).uploads(4, 10)
  at(5_000).uploads(5, 10)
  at(6_000).uploads(10, 10)
  expect(lines()).toEqual(['uploaded 0/10', 'uploaded 5/10, 1.0/s, about 5 s left', 'uploaded 10/10, 1.7/s'])
})

it('tells of failures, and believes the service about the time left', () => {
  const { at, lines } = watched()
  at(0).analyses(batch({ completed: 40 }))
  at(10_000).analyses(
    batch({ completed: 50, failed: 8, cancelled: 2, estimatedRemaining: { seconds: 90n, nanos: 0 } }),
  )
  expect(lines()).toEqual(['analysed 40/100', 'analysed 60/100, 8 failed, 2.0/s, about 1 min 30 s left'])
})

it('counts the pace of each phase from its own beginning', () => {
  const { at, lines } = watched()
  at(0).uploads(0, 10)
  at(1_000).uploads(10, 10)
  at(2_000).analyses(batch({}))
  at(7_000).analyses(batch({ completed: 5 }))
  expect(lines().at(-1)).toBe('analysed 5/100, 1.0/s, about 1 min 35 s left')
})
