import { expect, it } from 'vitest'
import type { Analysis, Step, StepName } from './analysis.ts'
import { openEstimates } from './estimates.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')
const MEDIANS = new Map<StepName, number>([
  ['extract', 10_000],
  ['rules', 4_000],
  ['ai', 0],
])
const step = (name: StepName, state: Step['state'], startedAt?: string): Step => ({
  name,
  state,
  detail: '',
  attempts: 1,
  ...(startedAt && { startedAt }),
})
const analysis = (state: Analysis['state'], ...steps: Step[]) => ({ state, steps }) as unknown as Analysis

const open = (
  stepMedians = async (): Promise<ReadonlyMap<StepName, number>> => MEDIANS,
  clock = () => new Date(NOW),
) => openEstimates({ stepMedians }, { concurrency: 2, clock, freshMs: 1_000 })

it('is what the steps that are left usually take, less what the one under way has had', async () => {
  const { remainingMs } = await open()
  expect(remainingMs(analysis('running'), 0)).toBe(14_000)
  const begun = new Date(NOW - 3_000).toISOString()
  expect(remainingMs(analysis('running', step('extract', 'running', begun)), 0)).toBe(11_000)
  const long = new Date(NOW - 60_000).toISOString()
  expect(remainingMs(analysis('running', step('extract', 'running', long)), 0)).toBe(4_000)
  expect(remainingMs(analysis('running', step('extract', 'completed'), step('rules', 'undone')), 0)).toBe(
    4_000,
  )
})

it('adds the turns of those before it in the queue', async () => {
  const { remainingMs } = await open()
  expect(remainingMs(analysis('queued'), 1)).toBe(14_000)
  expect(remainingMs(analysis('queued'), 5)).toBe(14_000 + (4 * 14_000) / 2)
})

it('is unknown without history, and for what is paused or has ended', async () => {
  const { remainingMs } = await open(async () => new Map())
  expect(remainingMs(analysis('running'), 0)).toBeUndefined()
  const known = await open()
  for (const state of ['paused', 'completed', 'failed', 'cancelled'] as const)
    expect(known.remainingMs(analysis(state), 0)).toBeUndefined()
})

it('learns in the background, and keeps what it knows when the database is away', async () => {
  let now = NOW
  const read: (() => Promise<ReadonlyMap<StepName, number>>)[] = [
    async () => MEDIANS,
    () => Promise.reject(new Error('away')),
    async () => new Map<StepName, number>([['extract', 1]]),
  ]
  const { remainingMs } = await open(
    () => (read.shift() ?? (async () => MEDIANS))(),
    () => new Date(now),
  )
  now += 1_000
  expect(remainingMs(analysis('running'), 0)).toBe(14_000)
  await Promise.resolve()
  now += 1_000
  expect(remainingMs(analysis('running'), 0)).toBe(14_000)
  await new Promise(setImmediate)
  expect(remainingMs(analysis('running'), 0)).toBe(1)
})
