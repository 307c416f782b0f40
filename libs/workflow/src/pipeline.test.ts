import { expect, test } from 'vitest'
import { definePipeline, isSkipped, type PipelineDefinition, skip } from './pipeline.ts'

type Outputs = Record<'a' | 'b', number>

const definition = (
  changes: Partial<PipelineDefinition<null, Outputs>> = {},
): PipelineDefinition<null, Outputs> => ({
  name: 'sample',
  version: '1',
  steps: [
    { name: 'a', timeoutMs: 1_000, run: async () => 1 },
    { name: 'b', timeoutMs: 1_000, run: async () => 2 },
  ],
  ...changes,
})

test('a step waits for the one declared before it, unless it says otherwise', () => {
  const { steps, queue } = definePipeline(definition())
  expect(steps).toMatchObject([
    { name: 'a', after: [], retry: { attempts: 8, on: 'transient' }, weight: 1 },
    { name: 'b', after: ['a'] },
  ])
  expect(queue).toBe('default')
  const parallel = definePipeline(
    definition({
      steps: [
        { name: 'a', timeoutMs: 1_000, run: async () => 1 },
        { name: 'b', after: [], timeoutMs: 1_000, run: async () => 2 },
      ],
    }),
  )
  expect(parallel.steps[1]?.after).toEqual([])
})

test.each<[string, Partial<PipelineDefinition<null, Outputs>>]>([
  ['"Not Kebab": use lower-case letters, digits and -', { name: 'Not Kebab' }],
  ['"": use lower-case letters', { queue: '' }],
  ['has no steps', { steps: [] }],
  ['timeoutMs is 0', { steps: [{ name: 'a', timeoutMs: 0, run: async () => 1 }] }],
  ['weight is -1', { steps: [{ name: 'a', timeoutMs: 1, weight: -1, run: async () => 1 }] }],
  [
    'attempts is 0',
    { steps: [{ name: 'a', timeoutMs: 1, retry: { attempts: 0, on: 'any' }, run: async () => 1 }] },
  ],
  ['which does not exist', { steps: [{ name: 'a', timeoutMs: 1, after: ['b'], run: async () => 1 }] }],
])('%s: is refused', (message, changes) => {
  expect(() => definePipeline(definition(changes))).toThrow(message)
})

test('only what skip returns counts as skipped', () => {
  expect(isSkipped(skip('nothing to do'))).toBe(true)
  expect(isSkipped({ skipped: 3 })).toBe(false)
  expect(isSkipped({ skipped: 'a column', rows: 2 })).toBe(false)
  expect(isSkipped(undefined)).toBe(false)
})
