import { expect, it } from 'vitest'
import { admitLayer } from './admit.ts'
import { callOf } from './call.fixture.ts'
import { Code } from './codes.ts'
import type { Layer } from './layer.ts'

/** Calls that end when told. */
function held(layer: Layer) {
  const ends: PromiseWithResolvers<unknown>[] = []
  const next = layer(() => {
    const end = Promise.withResolvers<unknown>()
    ends.push(end)
    return end.promise
  })
  return { next, ends }
}

const refusal = { code: Code.RESOURCE_EXHAUSTED, reason: 'OVERLOADED', options: { retryAfterMs: 100 } }

it('refuses the call above the limit at once and says when to try again', async () => {
  const { next, ends } = held(admitLayer({ maxConcurrent: 2 }))
  const running = [next(callOf('getDocument')), next(callOf('getDocument'))]
  await expect(next(callOf('getDocument'))).rejects.toMatchObject(refusal)
  expect(ends).toHaveLength(2)
  for (const end of ends) end.resolve('done')
  expect(await Promise.all(running)).toEqual(['done', 'done'])
})

it.each(['resolve', 'reject'] as const)(
  'gives the place of a call back when it ends with %s',
  async (how) => {
    const { next, ends } = held(admitLayer({ maxConcurrent: 1 }))
    for (let i = 0; i < 3; i++) {
      const call = next(callOf('getDocument')).catch(() => 'failed')
      await expect(next(callOf('getDocument'))).rejects.toMatchObject(refusal)
      ends[i]?.[how](new Error('x'))
      await call
    }
    expect(ends).toHaveLength(3)
  },
)

it('does not count streams', async () => {
  const { next, ends } = held(admitLayer({ maxConcurrent: 1 }))
  void next(callOf('downloadDocument'))
  void next(callOf('uploadDocument'))
  void next(callOf('getDocument'))
  expect(ends).toHaveLength(3)
  await expect(next(callOf('getDocument'))).rejects.toMatchObject(refusal)
})

it('refuses a limit that is not a whole number of calls', () => {
  for (const maxConcurrent of [0, 1.5, Number.NaN])
    expect(() => admitLayer({ maxConcurrent })).toThrow(RangeError)
})
