import { expect, test } from 'vitest'
import { jsonOf, storable } from './json.ts'

test('refuses U+0000 wherever it hides, and nothing that only looks like it', () => {
  expect(() => jsonOf({ text: 'a\0b' })).toThrow(TypeError)
  expect(() => jsonOf({ '\\\0': 1 })).toThrow(TypeError)
  expect(JSON.parse(jsonOf({ text: String.raw`a\u0000b` }))).toEqual({ text: String.raw`a\u0000b` })
  expect(jsonOf(undefined)).toBe('null')
})

test('a message loses the characters that no column takes', () => {
  expect(storable('bad \0 byte')).toBe('bad  byte')
})
