import { expect, it } from 'vitest'
import { DatabaseUnavailable, orUnavailable } from './unavailable.ts'

const failure = (message: string, code?: string): Error => Object.assign(new Error(message), code && { code })

it.each([
  failure('sorry, too many clients already', '53300'),
  failure('terminating connection due to administrator command', '57P01'),
  failure('the database system is starting up', '57P03'),
  failure('connection failure', '08006'),
  failure('connect ECONNREFUSED 127.0.0.1:1', 'ECONNREFUSED'),
  failure('connect ENETUNREACH 192.0.2.1:5432', 'ENETUNREACH'),
  failure('getaddrinfo EAI_AGAIN db.example', 'EAI_AGAIN'),
  failure('Connection terminated unexpectedly'),
  failure('timeout exceeded when trying to connect'),
  failure('Query read timeout'),
  failure('Cannot use a pool after calling end on the pool'),
])('takes "$message" for a database that does not answer', (error) => {
  const unavailable = orUnavailable(error)
  expect(unavailable).toBeInstanceOf(DatabaseUnavailable)
  expect(unavailable).toMatchObject({ cause: error })
})

it.each([
  failure('duplicate key value', '23505'),
  failure('canceling statement due to statement timeout', '57014'),
])('leaves "$message" as it is', (error) => {
  expect(orUnavailable(error)).toBe(error)
})
