import { expect, it } from 'vitest'
import { RpcError } from './errors.ts'
import { checkText, textFaults } from './text.ts'

it('takes 255 characters unless told, and no NUL', () => {
  expect(textFaults('name', 'x'.repeat(255))).toEqual([])
  expect(textFaults('name', 'x'.repeat(256))).toMatchObject([{ field: 'name' }])
  expect(textFaults('reason', 'x'.repeat(256), 1_000)).toEqual([])
  expect(textFaults('reason', 'a\0b', 1_000)).toMatchObject([{ field: 'reason' }])
})

it('refuses a request by the field', () => {
  expect(() => checkText('name', 'fine')).not.toThrow()
  let error: unknown
  try {
    checkText('name', '\0')
  } catch (thrown) {
    error = thrown
  }
  expect(error).toBeInstanceOf(RpcError)
  expect(error).toMatchObject({ reason: 'INVALID_REQUEST', options: { fields: [{ field: 'name' }] } })
})
