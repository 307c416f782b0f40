import { expect, it } from 'vitest'
import { callOf } from './call.fixture.ts'
import { Code } from './codes.ts'
import { deadlineLayer } from './deadline.ts'

const answers = async (deadline: number, now: number) => {
  let worked = false
  const next = deadlineLayer(() => now)(async () => {
    worked = true
    return 'done'
  })
  const answer = await next(callOf('getDocument', { deadline })).catch((error: unknown) => error)
  return { answer, worked }
}

it('refuses a call whose deadline is reached, without beginning the work', async () => {
  for (const now of [1_000, 1_001]) {
    expect(await answers(1_000, now)).toMatchObject({
      answer: { code: Code.DEADLINE_EXCEEDED, reason: 'DEADLINE_EXCEEDED' },
      worked: false,
    })
  }
})

it('lets a call through while there is time, or when nobody set a deadline', async () => {
  expect(await answers(1_000, 999)).toEqual({ answer: 'done', worked: true })
  expect(await answers(Number.POSITIVE_INFINITY, 1)).toEqual({ answer: 'done', worked: true })
})
