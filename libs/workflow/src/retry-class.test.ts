import { DatabaseUnavailable } from '@docmesh/postgres'
import { rpcError } from '@docmesh/rpc'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isTransient, mayRetry, retryDelay, retryPolicy } from './retry-class.ts'

test('time-outs, lost connections and what a service calls retryable may pass; other errors may not', () => {
  const connection = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  const transient = [
    new DOMException('too late', 'TimeoutError'),
    new DatabaseUnavailable('away'),
    connection,
    rpcError('OVERLOADED', 'busy'),
  ]
  expect(transient.map(isTransient)).toEqual([true, true, true, true])
  const lasting = [new Error('broken'), rpcError('DOCUMENT_NOT_FOUND', 'no'), 'text', undefined]
  expect(lasting.map(isTransient)).toEqual([false, false, false, false])
})

test('a class says how often and on what', () => {
  const away = new DatabaseUnavailable('away')
  const broken = new Error('broken')
  expect(mayRetry(retryPolicy('none'), 1, away)).toBe(false)
  expect(mayRetry(retryPolicy('transient'), 7, away)).toBe(true)
  expect(mayRetry(retryPolicy('transient'), 8, away)).toBe(false)
  expect(mayRetry(retryPolicy('transient'), 1, broken)).toBe(false)
  expect(mayRetry(retryPolicy('any'), 4, broken)).toBe(true)
  expect(mayRetry(retryPolicy({ attempts: 2, on: 'any' }), 2, broken)).toBe(false)
})

test('pauses double from one second to five minutes, with up to a tenth more', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (attempt, random) => {
        const ms = retryDelay(() => random)(attempt)
        const mean = Math.min(300_000, 1_000 * 2 ** (attempt - 1))
        expect(ms).toBeGreaterThanOrEqual(mean)
        expect(ms).toBeLessThanOrEqual(mean * 1.1)
      },
    ),
  )
})
