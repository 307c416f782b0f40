import { expect, test } from 'vitest'
import { jsonOf, storable } from './json.ts'

test('refuses U+0000 wherever it hides, and nothing that only looks like it', () => {
  expect(() => jsonOf({ text: 'a\0b' })).toThrow(TypeError)
  expect(() => jsonOf({ '\\\0': 1 })).toThrow(TypeError)
  expect(JSON.parse(jsonOf({ text: String.raw`a\u0000b` }))).toEqual({ text: String.raw`a\u0000b` })
  expect(jsonOf(undefined)).toBe('null')
})

test('refuses half of a surrogate pair, and nothing that only looks like it', () => {
  const [high, low] = ['😀'.slice(0, 1), '😀'.slice(1)]
  for (const half of [high, low, `${low}${high}`, `\\${high}`])
    expect(() => jsonOf({ [`${half}`]: 1 })).toThrow(TypeError)
  for (const whole of ['😀', String.raw`\ud83d`, String.raw`\\udc00`])
    expect(JSON.parse(jsonOf({ text: whole }))).toEqual({ text: whole })
})

test('a message loses the characters that no column takes', () => {
  expect(storable('bad \0 byte')).toBe('bad  byte')
  expect(storable('cut: 😀'.slice(0, -1))).toBe('cut: \ufffd')
})
