import fc from 'fast-check'
import { expect, test } from 'vitest'
import { redact, redactText } from './redact.ts'

test.each([
  ['CPF 123.456.789-09 given', 'CPF [cpf] given'],
  ['cpf=12345678909', 'cpf=[cpf]'],
  ['CNPJ 11.222.333/0001-81.', 'CNPJ [cnpj].'],
  ['CNPJ 12.ABC.345/01DE-35', 'CNPJ [cnpj]'],
  ['cnpj 11222333000181', 'cnpj [cnpj]'],
  ['to josé.silva+x@exemplo.com.br, cc', 'to [email], cc'],
  ['postgres://docmesh:hunter2@localhost:5432/db', 'postgres://[redacted]@localhost:5432/db'],
  ['postgres://docmesh:hunt@er2@localhost:5432/db', 'postgres://[redacted]@localhost:5432/db'],
  ['nats://:hunter2@10.0.0.1', 'nats://[redacted]@10.0.0.1'],
  ['authorization: Bearer eyJhbGciOi.J9', 'authorization: Bearer [redacted]'],
])('redacts personal data and credentials in %j', (text, safe) => {
  expect(redactText(text)).toBe(safe)
})

test.each([
  'listening on 127.0.0.1:50051',
  'trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7',
  'id 01981234-5678-7abc-8def-123456789012',
  'took 1234567890 ns at 2026-11-21T03:38:17.123Z',
  'user@ and @user, npm @grpc/grpc-js',
])('leaves %j as it is', (text) => {
  expect(redactText(text)).toBe(text)
})

test('is linear in hostile text', () => {
  const hostile = [
    'a'.repeat(200_000),
    'a@'.repeat(100_000),
    'a.'.repeat(100_000),
    '://a:'.repeat(40_000),
    '://a:b@'.repeat(30_000),
  ]
  const startedAt = performance.now()
  for (const text of hostile) redactText(text)
  expect(performance.now() - startedAt).toBeLessThan(1_000)
})

const secretKeys = [
  'password',
  'secret',
  'token',
  'api_key',
  'apiKey',
  'private_key',
  'access_key',
  'credential',
  'authorization',
  'cookie',
]

test('removes what stands under a secret key at any place of any value', () => {
  const bury = (value: unknown, path: readonly string[]) =>
    path.reduceRight((inner, key) => (key === '[]' ? [inner] : { [key]: inner }), value)
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', '[]'), { maxLength: 6 }),
      fc.constantFrom(...secretKeys),
      fc.constantFrom('', 'x_', 'X-'),
      (path, key, prefix) => {
        const value = bury({ [prefix + key]: 'hunter2', [key.toUpperCase()]: ['hunter2'] }, path)
        expect(JSON.stringify(redact(value))).not.toContain('hunter2')
      },
    ),
  )
})

test('keeps ordinary values, dates and bytes readable', () => {
  const date = new Date(0)
  expect(
    redact({ n: 1, ok: true, none: null, date, bytes: Buffer.from('abc'), big: 5n, set: new Set([1]) }),
  ).toEqual({
    n: 1,
    ok: true,
    none: null,
    date,
    bytes: '[3 bytes]',
    big: '5',
    set: [1],
  })
})

test('cuts cycles', () => {
  const loop: Record<string, unknown> = { name: 'x' }
  loop.self = loop
  expect(redact(loop)).toEqual({ name: 'x', self: '[circular]' })
})

test('turns an error into its type, message, stack, fields and causes', () => {
  const root = Object.assign(new TypeError('login of ana@exemplo.com.br'), { password: 'hunter2' })
  const error = new AggregateError([new Error('one')], 'two', { cause: root })
  expect(redact({ error })).toMatchObject({
    error: {
      type: 'AggregateError',
      message: 'two',
      errors: [{ type: 'Error', message: 'one' }],
      cause: { type: 'TypeError', message: 'login of [email]', password: '[redacted]' },
    },
  })
  expect(JSON.stringify(redact(error))).not.toMatch(/ana@|hunter2/)
})
