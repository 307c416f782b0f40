import fc from 'fast-check'
import { expect, test } from 'vitest'
import { progressOf, readySteps, sortSteps, stepsToUndo, withDescendants } from './plan.ts'

interface Step {
  readonly name: string
  readonly after: readonly string[]
  readonly compensate: boolean
}

/** Graphs without circles, declared in any order. */
const graph: fc.Arbitrary<Step[]> = fc
  .integer({ min: 1, max: 10 })
  .chain((size) =>
    fc.tuple(
      ...Array.from({ length: size }, (_, index) =>
        fc.record({
          name: fc.constant(`s${index}`),
          after: fc.subarray(Array.from({ length: index }, (_unused, before) => `s${before}`)),
          compensate: fc.boolean(),
        }),
      ),
    ),
  )
  .chain((steps) => fc.shuffledSubarray(steps, { minLength: steps.length }))

const names = (steps: readonly { name: string }[]): string[] => steps.map(({ name }) => name)

test('every step comes after those it waits for, and none is lost', () => {
  fc.assert(
    fc.property(graph, (steps) => {
      const sorted = names(sortSteps(steps))
      expect([...sorted].sort()).toEqual(names(steps).sort())
      for (const { name, after } of steps)
        for (const other of after) expect(sorted.indexOf(other)).toBeLessThan(sorted.indexOf(name))
    }),
  )
})

test('keeps the order of declaration where dependencies leave it open', () => {
  expect(
    names(
      sortSteps([
        { name: 'b', after: [] },
        { name: 'a', after: [] },
        { name: 'c', after: ['a'] },
      ]),
    ),
  ).toEqual(['b', 'a', 'c'])
})

test('whatever ends first, ready steps lead through the whole graph and never overtake', () => {
  fc.assert(
    fc.property(graph, fc.infiniteStream(fc.nat()), (steps, choice) => {
      const ended = new Set<string>()
      const begun = new Set<string>()
      while (ended.size < steps.length) {
        for (const { name, after } of readySteps(steps, ended, begun)) {
          expect(after.every((other) => ended.has(other))).toBe(true)
          begun.add(name)
        }
        const active = [...begun].filter((name) => !ended.has(name))
        expect(active).not.toEqual([])
        ended.add(active[choice.next().value % active.length] as string)
      }
    }),
  )
})

test('takes back only what was done and can be, each step before those that it builds on', () => {
  fc.assert(
    fc.property(graph, fc.func(fc.boolean()), (steps, done) => {
      const completed = new Set(names(steps).filter((name) => done(name)))
      const undo = names(stepsToUndo(steps, completed))
      for (const { name, compensate, after } of steps) {
        expect(undo.includes(name)).toBe(compensate && completed.has(name))
        for (const other of after)
          if (undo.includes(name) && undo.includes(other))
            expect(undo.indexOf(name)).toBeLessThan(undo.indexOf(other))
      }
    }),
  )
})

test('descendants are all that build on a step, directly or not', () => {
  const steps = [
    { name: 'd', after: ['c'] },
    { name: 'a', after: [] },
    { name: 'b', after: [] },
    { name: 'c', after: ['a'] },
  ]
  expect([...withDescendants(steps, ['a'])].sort()).toEqual(['a', 'c', 'd'])
  expect([...withDescendants(steps, ['d'])]).toEqual(['d'])
})

test.each([
  [
    'two steps have one name',
    [
      { name: 'a', after: [] },
      { name: 'a', after: [] },
    ],
  ],
  ['step a comes after b, which does not exist', [{ name: 'a', after: ['b'] }]],
  [
    'steps a, b wait for each other',
    [
      { name: 'a', after: ['b'] },
      { name: 'b', after: ['a'] },
    ],
  ],
])('%s: is refused', (message, steps) => {
  expect(() => sortSteps(steps)).toThrow(message)
})

test('progress grows with every step that ends and reaches 100 with the last alone', () => {
  fc.assert(
    fc.property(
      graph,
      fc.array(fc.nat(10_000), { minLength: 10, maxLength: 10 }),
      fc.boolean(),
      (steps, ms, history) => {
        const weighted = steps.map(({ name }, index) => ({ name, weight: 1 + (ms[index] ?? 0) }))
        const medians = new Map(history ? weighted.map(({ name, weight }) => [name, weight]) : [])
        const ended = new Set<string>()
        let before = progressOf(weighted, ended, medians)
        expect(before).toBe(0)
        for (const { name } of weighted) {
          ended.add(name)
          const now = progressOf(weighted, ended, medians)
          expect(now).toBeGreaterThanOrEqual(before)
          expect(now === 100).toBe(ended.size === steps.length)
          before = now
        }
      },
    ),
  )
})

test('history weighs steps once all have some', () => {
  const steps = [
    { name: 'short', weight: 1 },
    { name: 'long', weight: 1 },
  ]
  expect(progressOf(steps, new Set(['short']), new Map([['short', 99]]))).toBe(50)
  expect(
    progressOf(
      steps,
      new Set(['short']),
      new Map([
        ['short', 99],
        ['long', 899],
      ]),
    ),
  ).toBe(10)
})
